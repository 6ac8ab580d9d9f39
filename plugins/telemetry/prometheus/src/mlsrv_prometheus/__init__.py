"""Prometheus: metrics of servers and models."""

from mlsrv_prometheus.create import create_app

__all__ = ["create_app"]
