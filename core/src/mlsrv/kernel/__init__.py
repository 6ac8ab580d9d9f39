"""Kernel: the composition root; nothing below imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv.kernel.kernel import Kernel

__all__ = ["Kernel"]

__getattr__ = lazy_exports(__name__, {"Kernel": "mlsrv.kernel.kernel"})
