"""Kernels that are served over gRPC in a thread, and gRPC's own client, which sees bytes alone."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import grpc
import h2.config
import h2.connection
import pytest
from attrs import define, field

import mlsrv_grpc.plugin
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.context import current_context
from mlsrv.testing import EchoModel, FailingModel
from mlsrv_protocol.grpc import INFERENCE, decode_response, encode_request, message_class
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput

T = TypeVar("T")
SECONDS = 20


class Blocking(MLModel):
    """Waits until it is let go, and notes what becomes of each call."""

    async def load(self) -> bool:
        type(self).started, type(self).cancelled = asyncio.Semaphore(0), asyncio.Event()
        type(self).go_on = asyncio.Event()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        self.started.release()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return InferenceResponse(outputs=[])


class Asked(MLModel):
    """Answers with what it was asked, as parameters."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        context = current_context.get()
        assert context is not None
        assert payload.parameters is not None
        assert payload.parameters.headers == context.headers
        parameters = Parameters(
            seen_id=payload.id,
            context_id=context.request_id,
            trace=context.trace.get("traceparent", ""),
            transport=context.transport,
            seconds=context.remaining if context.remaining is not None else -1.0,
            **{f"header_{key}": value for key, value in context.headers.items()},
            **{f"parameter_{key}": value for key, value in payload.parameters.extra.items()},
        )
        return InferenceResponse(outputs=[], parameters=parameters)


class Headers(MLModel):
    """Answers with the headers that the first input lists (name, value, name, value, …)."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = [value.decode() for value in payload.inputs[0].data]
        headers = dict(zip(texts[::2], texts[1::2], strict=True))
        return InferenceResponse(outputs=[], parameters=Parameters(headers=headers, kept="yes"))


class Counting(MLModel):
    """Streams numbers up to the one in the input; -1 fails after the first one. Has no `predict`."""

    async def load(self) -> bool:
        type(self).closed = asyncio.Event()
        return True

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        try:
            async for payload in payloads:
                last = int(payload.inputs[0].data[0])
                for number in range(abs(last)):
                    output = ResponseOutput(name="n", shape=[1], datatype="INT64", data=[number])
                    yield InferenceResponse(outputs=[output])
                if last < 0:
                    raise ValueError("no more numbers")
        finally:
            self.closed.set()


class Wrong(MLModel):
    """Fails in the way that its parameter ``how`` says."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        how = self.settings.parameters.extra["how"]
        if how == "cancelled":
            raise asyncio.CancelledError
        if how == "unsendable":
            return InferenceResponse(
                outputs=[ResponseOutput(name="y", shape=[3], datatype="FP32", data=[1.0])]
            )
        raise ValueError("é" * 5000)


MODELS = [
    ModelSettings(name="echo", implementation=EchoModel),
    ModelSettings(name="versioned", implementation=EchoModel, parameters={"version": "v9"}),
    ModelSettings(name="versioned", implementation=EchoModel, parameters={"version": "v10"}),
    ModelSettings(
        name="declared",
        implementation=EchoModel,
        platform="p",
        versions=["x1"],
        inputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        outputs=[{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    ),
    ModelSettings(name="failing", implementation=FailingModel),
    ModelSettings(name="blocking", implementation=Blocking, max_in_flight=2),
    ModelSettings(name="asked", implementation=Asked),
    ModelSettings(name="headers", implementation=Headers),
    ModelSettings(name="counting", implementation=Counting),
    *(
        ModelSettings(name=how, implementation=Wrong, parameters={"extra": {"how": how}})
        for how in ("cancelled", "unsendable", "talkative")
    ),
]


@define
class Served:
    """A kernel that serves in a thread of its own, until `stop`."""

    kernel: Kernel
    loop: asyncio.AbstractEventLoop
    target: str
    channel: grpc.Channel
    _stop: asyncio.Event
    _serving: Future[None]
    _stopped: bool = field(default=False, init=False)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SECONDS)

    def method(self, name: str, service: str = INFERENCE) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        """A unary call by its name: bytes to bytes."""
        return self.channel.unary_unary(f"/{service}/{name}")

    def ask(self, method: str, /, **fields: Any) -> Any:
        """One call of the control plane, with messages."""
        body = message_class(f"inference.{method}Request")(**fields).SerializeToString()
        answer = self.method(method)(body, timeout=SECONDS)
        return message_class(f"inference.{method}Response").FromString(answer)

    def infer(self, request: InferenceRequest, *, typed: bool = False, **options: Any) -> InferenceResponse:
        body = encode_request(request, typed=typed)
        return decode_response(self.method("ModelInfer")(body, **{"timeout": SECONDS} | options))

    def begin_to_stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self.loop.call_soon_threadsafe(self._stop.set)

    def stop(self) -> None:
        self.begin_to_stop()
        self._serving.result(SECONDS)


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def event_loop_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(SECONDS)
    loop.close()


@pytest.fixture(scope="module")
def serve(event_loop_thread: asyncio.AbstractEventLoop) -> Iterator[Serve]:
    """Serves kernels: ``serve(models, credentials, plugins=…, **settings)``. All are stopped in the end."""
    loop = event_loop_thread
    running: list[Served] = []

    def start(
        models: list[ModelSettings] = MODELS,
        credentials: grpc.ChannelCredentials | None = None,
        plugins: Sequence[object] = (),
        ready: bool = True,
        **settings: Any,
    ) -> Served:
        kernel = Kernel(
            {"host": "127.0.0.1", "grpc_port": 0, **settings},
            plugins=[mlsrv_grpc.plugin, *plugins],
            models=models,
            discover=False,
        )
        listening: Future[str] = Future()
        stop = asyncio.Event()

        async def main() -> None:
            try:
                async with kernel:
                    if ready:
                        await kernel.loaded()
                    await kernel.serve(
                        stop.wait, lambda: listening.set_result(kernel.transports["grpc"].endpoints[0])
                    )
            except BaseException as error:
                if listening.done():
                    raise
                listening.set_exception(error)

        serving = asyncio.run_coroutine_threadsafe(main(), loop)
        target = listening.result(SECONDS).partition("://")[2]
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if credentials is None:
            channel = grpc.insecure_channel(target, options)
        else:
            channel = grpc.secure_channel(target, credentials, options)
        running.append(Served(kernel, loop, target, channel, stop, serving))
        return running[-1]

    yield start
    for served in running:
        served.channel.close()
        served.stop()


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    """All the models above, served once for a whole module."""
    return serve()


@pytest.fixture(scope="session")
def blocking() -> type[Blocking]:
    """The class of the model "blocking": what it notes belongs to the instance that was loaded last."""
    return Blocking


@pytest.fixture(scope="session")
def counting() -> type[Counting]:
    """The class of the model "counting"."""
    return Counting


RawCall = tuple[socket.socket, h2.connection.H2Connection]


@contextmanager
def raw_call(target: str, method: str, body: bytes, *, end: bool = True, **headers: str) -> Iterator[RawCall]:
    host, _, port = target.rpartition(":")
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    with socket.create_connection((host, int(port)), timeout=SECONDS) as client:
        connection.initiate_connection()
        sent = {
            ":method": "POST",
            ":scheme": "http",
            ":path": f"/{INFERENCE}/{method}",
            ":authority": "x",
            "content-type": "application/grpc",
            "te": "trailers",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        connection.send_headers(1, list(sent.items()))
        connection.send_data(1, b"\0" + len(body).to_bytes(4, "big") + body, end_stream=end)
        client.sendall(connection.data_to_send())
        yield client, connection


@pytest.fixture
def open_call() -> Callable[..., AbstractContextManager[RawCall]]:
    """Begins a call as bytes on a socket, which does what no client of gRPC does:
    ``open_call(target, method, body, end=…, header=…)``."""
    return raw_call
