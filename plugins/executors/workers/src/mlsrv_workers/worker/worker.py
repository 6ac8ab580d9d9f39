"""Worker: hosts models in a worker process and answers the server's frames; started by `boot.py`."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
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
from functools import partial
from typing import Any

from attrs import astuple

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelFailed, ModelLoadError, RequestCancelled
from mlsrv.hosting.catalog import Catalog
from mlsrv.hosting.model_host import ModelHost
from mlsrv.metrics import Metric
from mlsrv.plugin_resources import Shared
from mlsrv.telemetry.request_logging import thread_failed
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.failures import dump_error
from mlsrv_executor_kit.joining_threads import JoiningThreads
from mlsrv_executor_kit.plain_data import dump_plain
from mlsrv_executor_kit.plain_values import dump_value
from mlsrv_executor_kit.plugin_specs import PluginSpecs
from mlsrv_executor_kit.short_calls import ShortCalls
from mlsrv_hosting_kit.code_snapshot import CodeSnapshot
from mlsrv_hosting_kit.free_memory import returning_free_memory
from mlsrv_hosting_kit.garbage import freeze_libraries
from mlsrv_protocol.errors import text_of
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_protocol.workload import is_large
from mlsrv_telemetry_kit.default_registry import read_default_registry
from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.frames import CREDIT_INTERVAL, STREAM_WINDOW, Frame, FrameKind
from mlsrv_workers.ipc.log_forwarding import ForwardingHandler
from mlsrv_workers.worker.encoded_requests import EncodedRequests
from mlsrv_workers.worker.questions import Questions

_CALLS = (FrameKind.INFER, FrameKind.INFER_ENCODED, FrameKind.STREAM, FrameKind.CALL)
"""Kinds of frames that have the context of a request."""
_LARGE = 2**18
"""Bytes of a request beside its arrays from which it holds very many values."""


class _StreamState:
    """The inputs and the credit of a running stream."""

    def __init__(self, on_consumed: Callable[[int], None]) -> None:
        self.inputs: asyncio.Queue[InferenceRequest | None] = asyncio.Queue()
        self.credit = asyncio.Semaphore(STREAM_WINDOW)
        self._on_consumed = on_consumed

    async def requests(self) -> AsyncIterator[InferenceRequest]:
        count = 0
        while (request := await self.inputs.get()) is not None:
            count += 1
            if count % CREDIT_INTERVAL == 0:
                self._on_consumed(CREDIT_INTERVAL)
            yield request


class Worker:
    """Hosts models and answers frames until the connection ends.

    Attributes:
        connection: to the server.
        questions: those that models have for others.
        ended: set once the connection has ended.
    """

    def __init__(self) -> None:
        self.connection: Connection
        self.questions: Questions
        self.ended = asyncio.Event()
        self._hosts: dict[int, ModelHost] = {}
        self._encoded: dict[int, EncodedRequests] = {}
        self._calls: dict[int, tuple[asyncio.Task[None], CallContext | None]] = {}
        self._streams: dict[int, _StreamState] = {}
        self._threads = JoiningThreads((os.cpu_count() or 1) + 4, "mlsrv-worker")
        self._catalog: Catalog
        self._shared = Shared()
        self._gate: asyncio.Semaphore | None = None

    def on_frame(self, frame: Frame) -> None:
        """Handle one frame; each call becomes a task."""
        kind, call = frame.kind, frame.call
        if kind is FrameKind.RELEASE:
            self.connection.release(call)
        elif kind is FrameKind.PING:
            self.connection.send(FrameKind.PONG)
        elif kind is FrameKind.CANCEL:
            self._cancel(call)
        elif kind is FrameKind.ANSWER:
            self.questions.settle(frame)
        elif kind is FrameKind.STREAM_INPUT:
            self._add_input(call, frame)
        elif kind is FrameKind.STREAM_CREDIT:
            if call in self._streams:
                for _ in range(frame.unpickled()):
                    self._streams[call].credit.release()
        else:
            self._start_call(frame)

    def on_lost(self) -> None:
        """Handle the end of the connection, whether the server has ended or has closed it."""
        self.ended.set()

    # --- calls ----------------------------------------------------------------------------------------------

    def _start_call(self, frame: Frame) -> None:
        """Start a call. Every failure is reported to the server as the end of the call."""
        kind, call = frame.kind, frame.call
        try:
            payload = frame.unpickled()
            context: CallContext | None = None
            if kind in _CALLS:
                *payload, plain_context = payload
                context = serialization.load_context(plain_context)
                context.asker = partial(self.questions.ask, call)
            coroutine = self._coroutine_of(frame, payload, context)
        except Exception as error:  # a payload may name classes that are missing in this process
            self._fail(call, _internal_error("The call cannot be read in a worker process", error), None)
            return
        task = asyncio.get_running_loop().create_task(coroutine)
        self._calls[call] = (task, context)
        # A callback, because a task that is cancelled before its first step runs none of its code.
        task.add_done_callback(partial(self._on_done, call, context))

    def _coroutine_of(self, frame: Frame, payload: Any, context: Any) -> Coroutine[Any, Any, None]:
        kind, call = frame.kind, frame.call
        if kind is FrameKind.INFER:
            placement, plain = payload
            return self._infer(call, placement, plain, frame, context)
        if kind is FrameKind.INFER_ENCODED:
            placement, body, name, version = payload
            return self._infer_encoded(call, placement, body, name, version, context)
        if kind is FrameKind.CALL:
            placement, method, arguments = payload
            return self._call(call, placement, method, arguments, context)
        if kind is FrameKind.STREAM:
            self._streams[call] = _StreamState(
                lambda count: self.connection.send(FrameKind.STREAM_CREDIT, call, dump_plain(count))
            )
            (placement,) = payload
            return self._stream(call, placement, context)
        if kind is FrameKind.LOAD:
            return self._load(call, *payload)
        if kind is FrameKind.UNLOAD:
            return self._unload(call, payload)
        if kind is FrameKind.CONFIGURE:
            return self._configure(*payload)
        if kind is FrameKind.METRICS:
            return self._metrics(call)
        if kind is FrameKind.STOP:
            return self._stop()
        raise ValueError(f"a worker does not handle {kind.name} frames")

    def _on_done(self, call: int, context: CallContext | None, task: asyncio.Task[None]) -> None:
        del self._calls[call]
        self._streams.pop(call, None)
        if task.cancelled():
            self._fail(call, RequestCancelled("The call was cancelled."), context)
        elif isinstance(error := task.exception(), MLSrvError):
            self._fail(call, error, context)
        elif error is not None:
            self._fail(call, _internal_error("Internal error in a worker process", error), context)

    def _fail(self, call: int, error: MLSrvError, context: CallContext | None) -> None:
        spans = None if context is None else serialization.dump_timeline(context)
        self.connection.send(FrameKind.ERROR, call, dump_value((dump_error(error), spans)))

    def _cancel(self, call: int) -> None:
        task, context = self._calls.get(call, (None, None))
        if context is not None:
            context.cancel()
        if task is not None and not task.cancelling():
            task.cancel()

    def _add_input(self, call: int, frame: Frame) -> None:
        if call not in self._streams:
            return
        plain = frame.unpickled()
        request = None if plain is None else serialization.load_request(plain, frame.buffers)
        self._streams[call].inputs.put_nowait(request)

    # --- lifetime -------------------------------------------------------------------------------------------

    async def _configure(self, plugins: PluginSpecs, settings: dict[str, Any], level: int) -> None:
        root = logging.getLogger()
        root.handlers = [ForwardingHandler(self.connection)]
        root.setLevel(level)
        logging.captureWarnings(True)
        threading.excepthook = thread_failed
        self._catalog = Catalog(plugins.load(), settings)
        self._shared = self._catalog.shared
        if settings.get("worker_short_calls"):
            self._gate = asyncio.Semaphore(settings["worker_concurrency"])
        freeze_libraries()
        self.connection.send(FrameKind.STARTED)

    async def _stop(self) -> None:
        await asyncio.gather(*(host.unload() for host in self._hosts.values()), return_exceptions=True)
        await self._shared.close()
        self.connection.close()

    # --- models ---------------------------------------------------------------------------------------------

    async def _load(self, call: int, placement: int, pickled: bytes, snapshot: CodeSnapshot | None) -> None:
        try:
            settings = pickle.loads(pickled)
        except Exception as error:  # unpickling imports classes of the embedding application
            what = "The model's settings cannot be read in a worker process"
            raise ModelLoadError.of_unexpected(what, error) from error
        gate = self._gate
        short_calls = None if gate is None else ShortCalls(gate, partial(self._on_short, placement))
        host = ModelHost(settings, self._catalog, self._threads, self._record, snapshot, short_calls)
        info = await host.load()
        self._encoded[placement] = EncodedRequests(settings, host)
        self._hosts[placement] = host
        self.connection.send(FrameKind.RESULT, call, dump_value(serialization.dump_info(info)))

    def _on_short(self, placement: int, is_short: bool) -> None:
        self.connection.send_threadsafe(FrameKind.SHORT, dump_plain((placement, is_short)))

    async def _unload(self, call: int, placement: int) -> None:
        host = self._hosts.pop(placement, None)
        self._encoded.pop(placement, None)
        if host is not None:
            await host.unload()
        self.connection.send(FrameKind.RESULT, call)

    def _host(self, placement: int) -> ModelHost:
        if placement not in self._hosts:
            raise _not_loaded()
        return self._hosts[placement]

    async def _infer(
        self, call: int, placement: int, plain: tuple[Any, ...], frame: Frame, context: CallContext
    ) -> None:
        request = await _request_of(plain, frame)
        response = await self._host(placement).infer(request, context)
        buffers: serialization.Buffers = []
        body = await _dump(response, buffers, serialization.dump_timeline(context))
        # So that `send` drops the last references, and releases blocks with the result.
        del plain, frame, request, response
        self.connection.send(FrameKind.RESULT, call, body, buffers)

    async def _infer_encoded(
        self, call: int, placement: int, body: bytes, name: str, version: str | None, context: CallContext
    ) -> None:
        if placement not in self._encoded:
            raise _not_loaded()
        buffers: serialization.Buffers = []
        answer = await self._encoded[placement].answer(body, name, version, context, buffers)
        self.connection.send(FrameKind.RESULT, call, answer, buffers)

    async def _call(
        self, call: int, placement: int, method: str, arguments: dict[str, Any], context: CallContext
    ) -> None:
        result = await self._host(placement).call(method, arguments, context)
        buffers: serialization.Buffers = []
        body = serialization.dump_result(result, buffers)
        self.connection.send(FrameKind.RESULT, call, body, buffers)

    async def _stream(self, call: int, placement: int, context: CallContext) -> None:
        stream = self._streams[call]
        responses = self._host(placement).stream(stream.requests(), context)
        try:
            async for response in responses:
                await stream.credit.acquire()
                buffers: serialization.Buffers = []
                body = await _dump(response, buffers)
                self.connection.send(FrameKind.STREAM_ITEM, call, body, buffers)
        finally:
            await responses.aclose()  # type: ignore[attr-defined]  # an async generator
        self.connection.send(FrameKind.RESULT, call, dump_value(serialization.dump_timeline(context)))

    async def _metrics(self, call: int) -> None:
        metrics = await asyncio.to_thread(read_default_registry)
        self.connection.send(FrameKind.RESULT, call, dump_value(metrics))

    def _record(self, metric: Metric, value: float, labels: Sequence[str]) -> None:
        body = dump_value((astuple(metric), value, tuple(labels)))
        self.connection.send_threadsafe(FrameKind.RECORD, body)


async def _request_of(plain: tuple[Any, ...], frame: Frame) -> InferenceRequest:
    """Return the request in a frame; one with very many values is made in a thread, so that the server sees
    that this process is alive."""
    if len(frame.body) < _LARGE:
        return serialization.load_request(plain, frame.buffers)
    return await asyncio.to_thread(serialization.load_request, plain, frame.buffers)


async def _dump(response: InferenceResponse, buffers: serialization.Buffers, *more: Any) -> bytes:
    """Return a response as bytes; one with very many values likewise."""
    if is_large(response):
        return await asyncio.to_thread(serialization.dump_response, response, buffers, *more)
    return serialization.dump_response(response, buffers, *more)


def _not_loaded() -> ModelFailed:
    return ModelFailed("The model is not loaded here.")


def _internal_error(message: str, error: BaseException) -> MLSrvError:
    text = " ".join(text_of(error).split())[:300]
    wrapped = ModelFailed(f"{message}: {type(error).__name__}: {text}")
    wrapped.what, wrapped.raised = message, type(error).__name__
    wrapped.__cause__ = error
    return wrapped


async def serve(sock: socket.socket, memory_in: int, memory_out: int) -> None:
    """Serve the connection until it ends, then end the process.

    The process ends without waiting for tasks and threads of user code, which may never end.
    """
    worker = Worker()
    worker.connection = await Connection.open(sock, worker.on_frame, worker.on_lost, memory_out, memory_in)
    worker.questions = Questions(worker.connection)
    os.close(memory_in)
    os.close(memory_out)
    async with returning_free_memory():
        await worker.ended.wait()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _end_with_parent(parent: int) -> None:
    """Let the operating system end this process with its parent, even during a native call.

    Linux only; elsewhere the end of the connection has the same effect, later.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _ignore_signals() -> None:
    """Handle signals by doing nothing, because the server decides when a worker ends.

    These are handlers, since signals that are ignored would be ignored in programs that a model starts, too.
    """
    for name in ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: None)
    if hasattr(signal, "SIGTTOU"):
        # A worker is a background process of the server's terminal, which may stop those that write to it.
        # A handler would not do: the write would be interrupted and begun again without end.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def main(arguments: Sequence[str]) -> None:
    """Run the process.

    Args:
        arguments: the descriptors of the socket, of the shared memory to read and of that to write, and the
            process id of the server.
    """
    sock, memory_in, memory_out, parent = (int(argument) for argument in arguments)
    _ignore_signals()
    _end_with_parent(parent)
    faulthandler.enable()
    os.set_inheritable(sock, False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Models print to the same stream as the server and other workers: whole lines only.
        sys.stdout.reconfigure(line_buffering=True, write_through=False)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(socket.socket(fileno=sock), memory_in, memory_out))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory of event loops if uvloop is installed, else None."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return factory
