"""Handlers: endpoints that models bring."""

from __future__ import annotations

from mlserver.handlers.custom import custom_handler, get_custom_handlers

__all__ = ["custom_handler", "get_custom_handlers"]
