"""Metrics for Prometheus."""

from mlsrv_prometheus.create import create_app

__all__ = ["create_app"]
