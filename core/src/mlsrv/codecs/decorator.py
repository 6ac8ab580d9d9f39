"""Decorator: `decode_args`, under the module name that MLServer gives it."""

from __future__ import annotations

from mlsrv.codecs import decode_args

__all__ = ["decode_args"]
