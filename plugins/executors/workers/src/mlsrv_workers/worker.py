"""What runs in a worker process: ``python -m mlsrv_workers.worker SOCKET ARENA_IN ARENA_OUT``."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from mlsrv.catalog import Catalog
from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelLoadError
from mlsrv.host import ModelHost
from mlsrv.metrics import Metric
from mlsrv.threads import Threads
from mlsrv_protocol.types import InferenceRequest
from mlsrv_workers import messages
from mlsrv_workers.connection import Connection
from mlsrv_workers.failures import dump_error
from mlsrv_workers.frames import Frame, Kind
from mlsrv_workers.given import GivenPlugins
from mlsrv_workers.logs import ForwardingHandler

logger = logging.getLogger("mlsrv.workers")

STREAM_WINDOW = 16
"""Responses of a stream that may be on their way before the consumer takes one."""


class _Stream:
    """What a running stream shares with the frames that concern it."""

    def __init__(self) -> None:
        self.inputs: asyncio.Queue[InferenceRequest | None] = asyncio.Queue()
        self.credit = asyncio.Semaphore(STREAM_WINDOW)

    async def requests(self) -> AsyncIterator[InferenceRequest]:
        while (request := await self.inputs.get()) is not None:
            yield request


class Worker:
    """Hosts models and answers frames until the connection ends."""

    def __init__(self) -> None:
        self.connection: Connection
        self.ended = asyncio.Event()
        self._hosts: dict[int, ModelHost] = {}
        self._calls: dict[int, tuple[asyncio.Task[None], CallContext | None]] = {}
        self._streams: dict[int, _Stream] = {}
        self._threads = Threads((os.cpu_count() or 1) + 4, "mlsrv-worker")
        self._catalog: Catalog

    def on_frame(self, frame: Frame) -> None:
        """Handle one frame; long work becomes a task."""
        kind, call = frame.kind, frame.call
        if kind is Kind.INFER:
            placement, request, plain_context = frame.payload
            context = messages.load_context(plain_context)
            self._start(
                call,
                self._infer(call, placement, messages.load_request(request, frame.buffers), context),
                context,
            )
        elif kind is Kind.RELEASE:
            self.connection.release(call)
        elif kind is Kind.CANCEL:
            self._cancel(call)
        elif kind is Kind.LOAD:
            self._start(call, self._load(call, *frame.payload))
        elif kind is Kind.UNLOAD:
            self._start(call, self._unload(call, frame.payload))
        elif kind is Kind.STREAM:
            placement, plain_context = frame.payload
            context = messages.load_context(plain_context)
            self._streams[call] = _Stream()
            self._start(call, self._stream(call, placement, context), context)
        elif kind is Kind.STREAM_INPUT and call in self._streams:
            request = None if frame.payload is None else messages.load_request(frame.payload, frame.buffers)
            self._streams[call].inputs.put_nowait(request)
        elif kind is Kind.STREAM_CREDIT and call in self._streams:
            for _ in range(frame.payload):
                self._streams[call].credit.release()
        elif kind is Kind.CALL:
            placement, method, arguments, plain_context = frame.payload
            context = messages.load_context(plain_context)
            self._start(call, self._call(call, placement, method, arguments, context), context)
        elif kind is Kind.CONFIGURE:
            self._configure(*frame.payload)
        elif kind is Kind.STOP:
            self._start(call, self._stop())

    def on_lost(self) -> None:
        """The server is gone, or has closed the connection: end."""
        self.ended.set()

    def _configure(self, plugins: GivenPlugins, level: int) -> None:
        root = logging.getLogger()
        root.handlers = [ForwardingHandler(self.connection, asyncio.get_running_loop())]
        root.setLevel(level)
        try:
            self._catalog = Catalog(plugins.load())
        except MLSrvError as error:
            self.connection.send(Kind.ERROR, 0, dump_error(error))
        else:
            self.connection.send(Kind.STARTED)

    def _start(self, call: int, work: Coroutine[Any, Any, None], context: CallContext | None = None) -> None:
        task = asyncio.get_running_loop().create_task(self._settled(call, work))
        self._calls[call] = (task, context)

    async def _settled(self, call: int, work: Coroutine[Any, Any, None]) -> None:
        """Run the work of a call; whatever happens, the server hears of its end."""
        try:
            await work
        except MLSrvError as error:
            self.connection.send(Kind.ERROR, call, dump_error(error))
        except asyncio.CancelledError:
            self.connection.send(Kind.ERROR, call, dump_error(MLSrvError("The call was cancelled.")))
        except Exception as error:
            logger.exception("A call failed inside a worker")
            failure = MLSrvError(f"Internal error in a worker process: {type(error).__name__}.")
            self.connection.send(Kind.ERROR, call, dump_error(failure))
        finally:
            del self._calls[call]
            self._streams.pop(call, None)

    def _cancel(self, call: int) -> None:
        task, context = self._calls.get(call, (None, None))
        if context is not None:
            context.cancel()
        if task is not None:
            task.cancel()

    def _host(self, placement: int) -> ModelHost:
        return self._hosts[placement]

    async def _load(self, call: int, placement: int, pickled: bytes) -> None:
        try:
            settings = pickle.loads(pickled)
        except Exception as error:  # unpickling imports classes of the embedding application
            raise ModelLoadError(
                f"The model's settings cannot be read in a worker process: {error}"
            ) from error
        host = ModelHost(settings, self._catalog, self._threads, self._record)
        info = await host.load()
        self._hosts[placement] = host
        plain = {
            "platform": info.platform,
            "versions": info.versions,
            "inputs": messages.dump_metadata(info.inputs),
            "outputs": messages.dump_metadata(info.outputs),
            "streams": info.streams,
            "predicts": info.predicts,
            "asynchronous": info.asynchronous,
            "handlers": {name: dict(options) for name, options in info.handlers.items()},
        }
        self.connection.send(Kind.RESULT, call, plain)

    async def _unload(self, call: int, placement: int) -> None:
        host = self._hosts.pop(placement, None)
        if host is not None:
            await host.unload()
        self.connection.send(Kind.RESULT, call)

    async def _infer(
        self, call: int, placement: int, request: InferenceRequest, context: CallContext
    ) -> None:
        response = await self._host(placement).infer(request, context)
        buffers: messages.Buffers = []
        plain = messages.dump_response(response, buffers)
        self.connection.send(Kind.RESULT, call, plain, buffers)

    async def _call(
        self, call: int, placement: int, method: str, arguments: dict[str, Any], context: CallContext
    ) -> None:
        result = await self._host(placement).call(method, arguments, context)
        self.connection.send(Kind.RESULT, call, result)

    async def _stream(self, call: int, placement: int, context: CallContext) -> None:
        stream = self._streams[call]
        responses = self._host(placement).stream(stream.requests(), context)
        try:
            async for response in responses:
                await stream.credit.acquire()
                buffers: messages.Buffers = []
                plain = messages.dump_response(response, buffers)
                self.connection.send(Kind.STREAM_ITEM, call, plain, buffers)
        finally:
            await responses.aclose()  # type: ignore[attr-defined]  # an async generator
        self.connection.send(Kind.RESULT, call)

    async def _stop(self) -> None:
        await asyncio.gather(*(host.unload() for host in self._hosts.values()), return_exceptions=True)
        self.ended.set()

    def _record(self, metric: Metric, value: float, labels: Sequence[str]) -> None:
        plain = (metric.name, metric.description, metric.kind, metric.labels, metric.buckets)
        self.connection.send_threadsafe(Kind.RECORD, (plain, value, tuple(labels)))


async def serve(sock: socket.socket, arena_in: int, arena_out: int) -> None:
    """Serve the connection until it ends."""
    worker = Worker()
    worker.connection = await Connection.open(sock, worker.on_frame, worker.on_lost, arena_out, arena_in)
    await worker.ended.wait()


def _end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends, even while a native call holds the interpreter; the end
    of the connection does the same, later, elsewhere."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """Entry point of the process."""
    sock, arena_in, arena_out, parent = (int(argument) for argument in arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the server decides when a worker ends: after it was drained
    _end_with_parent(parent)
    faulthandler.enable()
    for descriptor in (sock, arena_in, arena_out):
        os.set_inheritable(descriptor, False)
    asyncio.run(serve(socket.socket(fileno=sock), arena_in, arena_out))
    # Threads of user code may hang or run for ever: nobody waits for them.
    logging.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
