"""A model repository that is a folder of ``model-settings.json`` files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_files.repository import FilesRepository

__all__ = ["FilesRepository"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import the protocol and numpy.
    if name in __all__:
        from mlsrv_files.repository import FilesRepository

        return FilesRepository
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
