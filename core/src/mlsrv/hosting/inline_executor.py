"""The executor that the kernel itself offers: models live in this process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from mlsrv.executor import Executor, Placement
from mlsrv.hosting.model_host import ModelHost
from mlsrv.settings import KernelSettings, ModelSettings
from mlsrv.threads import Threads

if TYPE_CHECKING:
    from mlsrv.kernel.kernel import Kernel


class InlineExecutor(Executor):
    """Async user code runs on the event loop, synchronous user code in a thread of a fixed pool."""

    priority: ClassVar[int] = -100

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        wanted = kernel.settings.of(KernelSettings).inline_threads
        self._threads = Threads(wanted or (os.cpu_count() or 1) + 4, "mlsrv-inline")

    async def __aexit__(self, *exc_info: object) -> None:
        self._threads.close()

    def claims(self, model: ModelSettings) -> bool:
        return True

    async def load(self, model: ModelSettings) -> Placement:
        host = ModelHost(model, self.kernel.catalog, self._threads, self.kernel.metrics.record)
        await host.load()
        return host
