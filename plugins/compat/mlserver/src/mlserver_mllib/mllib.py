"""Spark MLlib runtime, under the name of the module that MLServer has it in."""

from __future__ import annotations

from mlserver_mllib import MLlibModel

__all__ = ["MLlibModel"]
