"""What runs in a worker process, started by `boot.py`."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import functools
import gc
import importlib.util
import io
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from attrs import astuple

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelFailed, ModelLoadError, RequestCancelled
from mlsrv.hosting.catalog import Catalog
from mlsrv.hosting.model_host import ModelHost
from mlsrv.metrics import Metric
from mlsrv.plugin_resources import Shared
from mlsrv.telemetry.request_logging import thread_failed
from mlsrv_protocol.types import InferenceRequest
from mlsrv_workers.ipc import serialization as messages
from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.failures import dump_error
from mlsrv_workers.ipc.frames import STREAM_CREDIT, STREAM_WINDOW, Frame, Kind, dump
from mlsrv_workers.ipc.log_forwarding import ForwardingHandler
from mlsrv_workers.worker.joining_threads import PatientThreads
from mlsrv_workers.worker.plugin_specs import GivenPlugins


class _Stream:
    """What a running stream shares with the frames that concern it."""

    def __init__(self, taken: Callable[[int], None]) -> None:
        self.inputs: asyncio.Queue[InferenceRequest | None] = asyncio.Queue()
        self.credit = asyncio.Semaphore(STREAM_WINDOW)
        self._taken = taken

    async def requests(self) -> AsyncIterator[InferenceRequest]:
        count = 0
        while (request := await self.inputs.get()) is not None:
            count += 1
            if count % STREAM_CREDIT == 0:
                self._taken(STREAM_CREDIT)
            yield request


class Worker:
    """Hosts models and answers frames until the connection ends.

    Attributes:
        ended: set once the connection is gone.
    """

    def __init__(self) -> None:
        self.connection: Connection
        self.ended = asyncio.Event()
        self._hosts: dict[int, ModelHost] = {}
        self._calls: dict[int, tuple[asyncio.Task[None], CallContext | None]] = {}
        self._streams: dict[int, _Stream] = {}
        self._threads = PatientThreads((os.cpu_count() or 1) + 4, "mlsrv-worker")
        self._catalog: Catalog
        self._shared = Shared()

    def on_frame(self, frame: Frame) -> None:
        """Handle one frame; work becomes a task."""
        kind, call = frame.kind, frame.call
        if kind is Kind.RELEASE:
            self.connection.release(call)
        elif kind is Kind.CANCEL:
            self._cancel(call)
        elif kind is Kind.STREAM_INPUT:
            self._add_input(call, frame)
        elif kind is Kind.STREAM_CREDIT:
            if call in self._streams:
                for _ in range(frame.payload()):
                    self._streams[call].credit.release()
        else:
            self._begin(frame)

    def on_lost(self) -> None:
        """The server is gone, or has closed the connection: end."""
        self.ended.set()

    # --- calls ----------------------------------------------------------------------------------------------

    def _begin(self, frame: Frame) -> None:
        """Start the work of a call. Whatever goes wrong, the server hears of its end."""
        kind, call = frame.kind, frame.call
        try:
            payload = frame.payload()
            context: CallContext | None = None
            if kind in (Kind.INFER, Kind.STREAM, Kind.CALL):
                *payload, plain_context = payload
                context = messages.load_context(plain_context)
            work = self._work(frame, payload, context)
        except Exception as error:  # a payload may name classes that are missing in this process
            self._fail(call, _caused("The call cannot be read in a worker process", error), None)
            return
        task = asyncio.get_running_loop().create_task(work)
        self._calls[call] = (task, context)
        # A callback, for a task that is cancelled before its first step never runs any of its code.
        task.add_done_callback(functools.partial(self._done, call, context))

    def _work(self, frame: Frame, payload: Any, context: Any) -> Coroutine[Any, Any, None]:
        kind, call = frame.kind, frame.call
        if kind is Kind.INFER:
            placement, plain = payload
            return self._infer(call, placement, messages.load_request(plain, frame.buffers), context)
        if kind is Kind.CALL:
            placement, method, arguments = payload
            return self._call(call, placement, method, arguments, context)
        if kind is Kind.STREAM:
            self._streams[call] = _Stream(
                lambda count: self.connection.send(Kind.STREAM_CREDIT, call, dump(count))
            )
            (placement,) = payload
            return self._stream(call, placement, context)
        if kind is Kind.LOAD:
            return self._load(call, *payload)
        if kind is Kind.UNLOAD:
            return self._unload(call, payload)
        if kind is Kind.CONFIGURE:
            return self._configure(*payload)
        if kind is Kind.STOP:
            return self._stop()
        raise ValueError(f"a worker takes no {kind.name}")

    def _done(self, call: int, context: CallContext | None, task: asyncio.Task[None]) -> None:
        del self._calls[call]
        self._streams.pop(call, None)
        if task.cancelled():
            self._fail(call, RequestCancelled("The call was cancelled."), context)
        elif isinstance(error := task.exception(), MLSrvError):
            self._fail(call, error, context)
        elif error is not None:
            self._fail(call, _caused("Internal error in a worker process", error), context)

    def _fail(self, call: int, error: MLSrvError, context: CallContext | None) -> None:
        spans = None if context is None else messages.dump_timeline(context)
        self.connection.send(Kind.ERROR, call, dump((dump_error(error), spans)))

    def _cancel(self, call: int) -> None:
        task, context = self._calls.get(call, (None, None))
        if context is not None:
            context.cancel()
        if task is not None and not task.cancelling():
            task.cancel()

    def _add_input(self, call: int, frame: Frame) -> None:
        if call not in self._streams:
            return
        plain = frame.payload()
        request = None if plain is None else messages.load_request(plain, frame.buffers)
        self._streams[call].inputs.put_nowait(request)

    # --- lifetime -------------------------------------------------------------------------------------------

    async def _configure(self, plugins: GivenPlugins, settings: dict[str, Any], level: int) -> None:
        root = logging.getLogger()
        root.handlers = [ForwardingHandler(self.connection)]
        root.setLevel(level)
        logging.captureWarnings(True)
        threading.excepthook = thread_failed
        self._catalog = Catalog(plugins.load(), settings)
        self._shared = self._catalog.shared
        self.connection.send(Kind.STARTED)

    async def _stop(self) -> None:
        await asyncio.gather(*(host.unload() for host in self._hosts.values()), return_exceptions=True)
        await self._shared.close()
        self.connection.close()

    # --- models ---------------------------------------------------------------------------------------------

    async def _load(self, call: int, placement: int, pickled: bytes) -> None:
        try:
            settings = pickle.loads(pickled)
        except Exception as error:  # unpickling imports classes of the embedding application
            raise ModelLoadError(
                f"The model's settings cannot be read in a worker process: {type(error).__name__}: {error}"
            ) from error
        host = ModelHost(settings, self._catalog, self._threads, self._record)
        info = await host.load()
        self._hosts[placement] = host
        if not gc.get_freeze_count():
            # What the first model brought, libraries above all, stays: later collections need not look at it.
            gc.collect()
            gc.freeze()
        self.connection.send(Kind.RESULT, call, dump(messages.dump_info(info)))

    async def _unload(self, call: int, placement: int) -> None:
        host = self._hosts.pop(placement, None)
        if host is not None:
            await host.unload()
        self.connection.send(Kind.RESULT, call)

    def _host(self, placement: int) -> ModelHost:
        if placement not in self._hosts:
            raise ModelFailed("The model is not loaded here.")
        return self._hosts[placement]

    async def _infer(
        self, call: int, placement: int, request: InferenceRequest, context: CallContext
    ) -> None:
        response = await self._host(placement).infer(request, context)
        buffers: messages.Buffers = []
        body = dump((messages.dump_response(response, buffers), messages.dump_timeline(context)))
        del request, response  # so that `send` has the last references, and gives blocks back with the result
        self.connection.send(Kind.RESULT, call, body, buffers)

    async def _call(
        self, call: int, placement: int, method: str, arguments: dict[str, Any], context: CallContext
    ) -> None:
        result = await self._host(placement).call(method, arguments, context)
        self.connection.send(Kind.RESULT, call, dump(result))

    async def _stream(self, call: int, placement: int, context: CallContext) -> None:
        stream = self._streams[call]
        responses = self._host(placement).stream(stream.requests(), context)
        try:
            async for response in responses:
                await stream.credit.acquire()
                buffers: messages.Buffers = []
                body = dump(messages.dump_response(response, buffers))
                self.connection.send(Kind.STREAM_ITEM, call, body, buffers)
        finally:
            await responses.aclose()  # type: ignore[attr-defined]  # an async generator
        self.connection.send(Kind.RESULT, call, dump(messages.dump_timeline(context)))

    def _record(self, metric: Metric, value: float, labels: Sequence[str]) -> None:
        self.connection.send_threadsafe(Kind.RECORD, dump((astuple(metric), value, tuple(labels))))


def _caused(what: str, error: BaseException) -> MLSrvError:
    text = " ".join(str(error).split())[:300]
    made = MLSrvError(f"{what}: {type(error).__name__}: {text}")
    made.__cause__ = error
    return made


async def serve(sock: socket.socket, arena_in: int, arena_out: int) -> None:
    """Serve the connection until it ends, then end the process: tasks and threads of user code may hang or
    run for ever, and nobody waits for them."""
    worker = Worker()
    worker.connection = await Connection.open(sock, worker.on_frame, worker.on_lost, arena_out, arena_in)
    os.close(arena_in)
    os.close(arena_out)
    await worker.ended.wait()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends, even while a native call holds the interpreter;
    the end of the connection does the same, later, elsewhere."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _ignore_signals() -> None:
    """The server decides when a worker ends: after it was drained. These are handlers that do nothing, for
    signals that are ignored would be so in programs that a model starts, too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)


def main(arguments: Sequence[str]) -> None:
    """Entry point of the process. `arguments` are the descriptors of the socket, of the arena to read and of
    the one to write, and the process id of the server."""
    sock, arena_in, arena_out, parent = (int(argument) for argument in arguments)
    _ignore_signals()
    _end_with_parent(parent)
    faulthandler.enable()
    os.set_inheritable(sock, False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What models print shares its place with the lines of the server, and of other workers.
        sys.stdout.reconfigure(line_buffering=True, write_through=False)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(socket.socket(fileno=sock), arena_in, arena_out))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, if that is installed."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
