"""Plugins: what they offer, how they are found, and the hooks that they implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv.plugins.discovery import load_plugin_file
    from mlsrv.plugins.manager import PluginRow, Plugins

__all__ = ["PluginRow", "Plugins", "load_plugin_file"]

__getattr__ = lazy_exports(
    __name__,
    {
        "PluginRow": "mlsrv.plugins.manager",
        "Plugins": "mlsrv.plugins.manager",
        "load_plugin_file": "mlsrv.plugins.discovery",
    },
)
