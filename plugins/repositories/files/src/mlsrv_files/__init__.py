"""File repository: a folder with a ``model-settings.json`` for each model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_files.repository import FilesRepository

__all__ = ["FilesRepository"]

# Lazy: loading the plugin does not import the protocol and numpy.
__getattr__ = lazy_exports(__name__, {"FilesRepository": "mlsrv_files.repository"})
