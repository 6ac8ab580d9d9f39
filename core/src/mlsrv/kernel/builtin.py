"""What the kernel itself offers, in the form of a plugin."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from mlsrv.plugins.discovery import PluginRow
from mlsrv.plugins.markers import hookimpl
from mlsrv.plugins.offers import ExecutorOffer
from mlsrv.settings.server import KERNEL_DISTRIBUTION


class KernelPlugin:
    """Offers the executor ``inline``."""

    @hookimpl
    def mlsrv_executors(self) -> ExecutorOffer:
        """Models in this process."""
        return ExecutorOffer("inline", "mlsrv.hosting.inline_executor:InlineExecutor")


def kernel_plugin() -> PluginRow:
    """The row of the kernel among the plugins."""
    return PluginRow("core", KERNEL_DISTRIBUTION, kernel_version(), plugin=KernelPlugin())


def kernel_version() -> str:
    """The version of mlsrv-core; "0" if it runs from a bare source tree."""
    try:
        return version(KERNEL_DISTRIBUTION)
    except PackageNotFoundError:
        return "0"
