"""Kernel plugin: what the kernel itself brings through the hooks of plugins."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mlsrv.plugins.discovery import PluginRow
from mlsrv.plugins.markers import hookimpl
from mlsrv.plugins.offers import ExecutorOffer
from mlsrv.settings.server import KERNEL_DISTRIBUTION

if TYPE_CHECKING:
    from mlsrv.executor import ModelInfo
    from mlsrv.interceptor import Interceptor
    from mlsrv.settings import ModelSettings
    from mlsrv_telemetry_kit.metrics import Metric


class KernelPlugin:
    """Offers of the kernel: executor, metrics, extensions of the protocol, checks of requests."""

    @hookimpl
    def mlsrv_executors(self) -> ExecutorOffer:
        """Return the executor that runs models in this process."""
        return ExecutorOffer("inline", "mlsrv.hosting.inline_executor:InlineExecutor")

    @hookimpl
    def mlsrv_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics of models and of requests to them."""
        from mlsrv.telemetry.kernel_metrics import METRICS

        return METRICS

    @hookimpl
    def mlsrv_extensions(self) -> tuple[str, ...]:
        """Return the extensions that work over every transport."""
        return "schedule_policy", "statistics"

    @hookimpl
    def mlsrv_interceptors(self, model: ModelSettings, info: ModelInfo) -> Interceptor | None:
        """Return the check of requests against declared tensors, for models that want it and declare some."""
        from mlsrv.dataplane.input_checks import declared_tensors

        return declared_tensors(model, info)


def kernel_plugin() -> PluginRow:
    """The row of the kernel among the plugins."""
    return PluginRow("core", KERNEL_DISTRIBUTION, kernel_version(), plugin=KernelPlugin())


def kernel_version() -> str:
    """The version of mlsrv-core; "0" if it runs from a bare source tree."""
    try:
        return version(KERNEL_DISTRIBUTION)
    except PackageNotFoundError:
        return "0"
