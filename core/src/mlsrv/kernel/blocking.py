"""Blocking kernel: a kernel for programs without asyncio, in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from mlsrv.errors import ServerNotReady
from mlsrv.kernel_api import KernelAPI, ModelStatus

if TYPE_CHECKING:
    from mlsrv.context import CallContext
    from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RepositoryIndexResponseItem

_T = TypeVar("_T")

_END: Any = object()


class AsyncKernel(KernelAPI, Protocol):
    """A kernel as it is run here."""

    async def __aenter__(self) -> AsyncKernel: ...

    async def __aexit__(self, *exc_info: object) -> None: ...

    async def loaded(self) -> None: ...


class BlockingKernel:
    """The calls of a `Kernel`, each of which waits for its result; made by `Kernel.blocking`.

    The kernel runs on an event loop of its own, in a daemon thread, between entering and leaving. Any number
    of threads may call at the same time, such as those of Flask and Django; a call from the code of an event
    loop stops that loop meanwhile.

    Args:
        kernel: one that is not running.
    """

    def __init__(self, kernel: AsyncKernel) -> None:
        self.kernel = kernel
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._calls: set[concurrent.futures.Future[Any]] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Start the kernel and wait until every model of the start is READY or has failed.

        Raises:
            RuntimeError: it is running already.
            MLSrvError: as entering a `Kernel`.
        """
        if self._thread is not None:
            raise RuntimeError("This kernel is running already.")
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(started)), name="mlsrv-kernel", daemon=True
        )
        self._thread.start()
        try:
            started.result()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the kernel; calls of other threads that are still waiting fail."""
        thread, self._thread = self._thread, None
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._leave is not None:
            loop.call_soon_threadsafe(self._leave.set)
        if thread is not None:
            thread.join()

    def infer(self, request: InferenceRequest, context: CallContext | None = None) -> InferenceResponse:
        """Answer one request; see `Kernel.infer`."""
        return self._wait(self.kernel.infer(request, context))

    def stream(
        self, request: InferenceRequest, context: CallContext | None = None
    ) -> Iterator[InferenceResponse]:
        """Yield the answers to one request; closing the iterator stops the model. See `Kernel.stream`."""
        responses = self.kernel.stream(request, context)
        try:
            while (response := self._wait(_next(responses))) is not _END:
                yield response
        finally:
            if self._loop is not None:
                self._wait(responses.aclose())  # type: ignore[attr-defined]  # it is an async generator

    def call(
        self,
        name: str,
        version: str | None,
        method: str,
        arguments: Mapping[str, Any],
        context: CallContext | None = None,
    ) -> Any:
        """Call a custom handler of a model; see `Kernel.call`."""
        return self._wait(self.kernel.call(name, version, method, dict(arguments), context))

    def load(self, name: str, version: str | None = None) -> Sequence[ModelStatus]:
        """Load or reload a model; see `Kernel.load`."""
        return self._wait(self.kernel.load(name, version))

    def unload(self, name: str, version: str | None = None) -> None:
        """Unload a model; see `Kernel.unload`."""
        self._wait(self.kernel.unload(name, version))

    def index(self, ready: bool | None = None) -> Sequence[RepositoryIndexResponseItem]:
        """Return every version of every model; see `Kernel.index`."""
        return self._wait(self.kernel.index(ready))

    # --- inside -------------------------------------------------------------------------------------------

    async def _main(self, started: concurrent.futures.Future[None]) -> None:
        self._leave = asyncio.Event()
        try:
            async with self.kernel:
                await self.kernel.loaded()
                with self._lock:
                    self._loop = asyncio.get_running_loop()
                started.set_result(None)
                await self._leave.wait()
                self._abandon()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    def _abandon(self) -> None:
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        with self._lock:
            if self._loop is None:
                work.close()
                raise ServerNotReady("The kernel is not running.")
            call = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._calls.add(call)
        try:
            return call.result()
        except concurrent.futures.CancelledError:
            raise ServerNotReady("The kernel has stopped.") from None
        except BaseException:
            call.cancel()  # the caller was interrupted
            raise
        finally:
            with self._lock:
                self._calls.discard(call)


async def _next(responses: AsyncIterator[_T]) -> _T:
    found: _T = await anext(responses, _END)
    return found
