"""Logging: the logger of models."""

from __future__ import annotations

import logging

__all__ = ["get_logger", "logger"]

logger = logging.getLogger("mlserver")


def get_logger() -> logging.Logger:
    """Return the logger of models."""
    return logger
