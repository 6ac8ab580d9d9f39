"""KernelPlugin: the part of the kernel that uses the hooks of plugins."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mlsrv.plugins.discovery import PluginRow
from mlsrv.plugins.markers import hookimpl
from mlsrv.plugins.offers import ExecutorOffer
from mlsrv.settings.server import KERNEL_DISTRIBUTION

if TYPE_CHECKING:
    from mlsrv.metrics import Metric


class KernelPlugin:
    """Executor ``inline``, and the metrics of the kernel."""

    @hookimpl
    def mlsrv_executors(self) -> ExecutorOffer:
        """Return the executor that runs models in this process."""
        return ExecutorOffer("inline", "mlsrv.hosting.inline_executor:InlineExecutor")

    @hookimpl
    def mlsrv_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics of models and of requests to them."""
        from mlsrv.telemetry.kernel_metrics import METRICS

        return METRICS


def kernel_plugin() -> PluginRow:
    """The row of the kernel among the plugins."""
    return PluginRow("core", KERNEL_DISTRIBUTION, kernel_version(), plugin=KernelPlugin())


def kernel_version() -> str:
    """The version of mlsrv-core; "0" if it runs from a bare source tree."""
    try:
        return version(KERNEL_DISTRIBUTION)
    except PackageNotFoundError:
        return "0"
