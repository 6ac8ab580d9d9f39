"""Metrics: values that models record."""

from __future__ import annotations

from mlsrv.metrics import log, register

__all__ = ["log", "register"]
