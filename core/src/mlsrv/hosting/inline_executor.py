"""InlineExecutor: places models in this process; the kernel itself offers it."""

from __future__ import annotations

import os
from typing import ClassVar, Protocol

from mlsrv.context import CallContext, current_context
from mlsrv.errors import ConfigurationError
from mlsrv.executor import Executor, Placement
from mlsrv.hosting.catalog import Catalog
from mlsrv.hosting.model_host import ModelHost
from mlsrv.hosting.user_call import SyncCalls
from mlsrv.kernel_api import KernelAPI
from mlsrv.lazy import kit_exports
from mlsrv.settings import KernelSettings, ModelSettings
from mlsrv_hosting_kit.threads import Threads
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

SPARE = 4
"""Threads, for each one of the pool, that may take the place of one in which code of a model hangs."""


class HostingKernel(KernelAPI, Protocol):
    """A kernel in whose process models live: it has their codecs and runtimes."""

    @property
    def catalog(self) -> Catalog:
        """Codecs and runtimes."""


class InlineExecutor(Executor):
    """Async user code runs on the event loop, synchronous user code in a thread of a fixed pool, or on
    the event loop, too, if it is short and the settings allow that."""

    priority: ClassVar[int] = -100

    def __init__(self, kernel: HostingKernel) -> None:
        super().__init__(kernel)
        self._catalog = kernel.catalog
        self._record = kernel.metrics.record
        settings = kernel.settings.of(KernelSettings)
        size = settings.inline_threads or (os.cpu_count() or 1) + 4
        self._threads = Threads(size, "mlsrv-inline", spare=SPARE * size, label=_request)
        self._sync_calls = _short_calls() if settings.inline_short_calls else None

    async def __aexit__(self, *exc_info: object) -> None:
        self._threads.close()

    @property
    def problem(self) -> str | None:
        if not self._threads.stuck:
            return None
        return (
            f"All {(SPARE + 1) * self._threads.size} threads for code of models in this process are taken "
            "by requests that were given up and do not end; only a restart ends them."
        )

    def claims(self, model: ModelSettings) -> bool:
        return True

    async def load(self, model: ModelSettings) -> Placement:
        calls = self._sync_calls
        host = ModelHost(model, self._catalog, self._threads, self._record, sync_calls=calls, asker=self._ask)
        await host.load()
        return host

    async def _ask(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        return await self.kernel.infer(request, context.question())


def _short_calls() -> SyncCalls:
    try:
        made: SyncCalls = kit_exports(__name__, "mlsrv_executor_kit.short_calls")("ShortCalls")()
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"inline_short_calls: {error}.") from None
    return made


def _request() -> str:
    context = current_context.get()
    return "A call" if context is None else f"Request {context.request_id} to the model {context.model}"
