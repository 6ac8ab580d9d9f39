"""A served kernel, and a client that shows the bytes of HTTP/1.1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from attrs import define

import mlsrv_rest.plugin
from mlsrv import Kernel, MLModel, ModelSettings, Settings
from mlsrv.testing import EchoModel, FailingModel
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters
from mlsrv_rest.transport import RestTransport

TENSOR = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'


class Blocking(MLModel):
    """Waits until it is let go; notes what becomes of each call."""

    started = asyncio.Event()
    go_on = asyncio.Event()
    cancelled = asyncio.Event()

    async def load(self) -> bool:
        type(self).started, type(self).go_on, type(self).cancelled = (
            asyncio.Event(),
            asyncio.Event(),
            asyncio.Event(),
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        self.started.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return InferenceResponse(outputs=[])


class Headers(MLModel):
    """Answers with the headers that the first input lists (name, value, name, value, …)."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = payload.inputs[0].data
        headers = dict(zip(texts[::2], texts[1::2], strict=True))
        return InferenceResponse(outputs=[], parameters=Parameters(headers=headers, kept="yes"))


class Asked(MLModel):
    """Answers with what it was asked, as parameters."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        assert payload.parameters is not None
        parameters = Parameters(seen_id=payload.id, seen_headers=dict(payload.parameters.headers or {}))
        return InferenceResponse(outputs=[], parameters=parameters)


MODELS = [
    ModelSettings(name="echo", implementation=EchoModel),
    ModelSettings(name="my é", implementation=EchoModel, parameters={"version": "v 1"}),
    ModelSettings(name="failing", implementation=FailingModel),
    ModelSettings(name="blocking", implementation=Blocking),
    ModelSettings(name="headers", implementation=Headers),
    ModelSettings(name="asked", implementation=Asked),
]


@define
class Served:
    """A kernel that serves, until the block ends or `stop` is set."""

    kernel: Kernel
    url: str
    client: httpx.AsyncClient
    stop: asyncio.Event
    serving: asyncio.Task[None]

    @property
    def listener(self) -> Any:
        """The only listener of the transport."""
        transport: Any = self.kernel.transports["rest"]
        (listener,) = transport._listeners
        return listener

    @property
    def app(self) -> Any:
        """The application of the only listener."""
        return self.listener.app

    @property
    def server(self) -> Any:
        """The HTTP server of the only listener."""
        return self.listener.server

    def blocking_model(self) -> Any:
        """Return the instance of `Blocking` that is loaded."""
        placement: Any = self.kernel.handle("blocking").loaded().placement
        return placement._model

    async def wire(self) -> Wire:
        parts = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        return Wire(reader, writer)


@define
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@define
class Wire:
    """One connection, by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def post(self, path: str, body: bytes, *headers: str) -> Answer:
        lines = [f"POST {path} HTTP/1.1", "host: test", f"content-length: {len(body)}", *headers, "", ""]
        await self.send("\r\n".join(lines).encode("latin-1"), body)
        return await self.answer()

    async def answer(self) -> Answer:
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])
            }
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body)

    async def ended(self) -> bytes:
        """Return the remaining bytes until the server closes."""
        async with asyncio.timeout(20):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass  # the server may have been faster


Serve = Callable[..., AbstractAsyncContextManager[Served]]


@pytest.fixture(params=["combined", "hypercorn", "uvicorn"])
def http_server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serve(http_server: str) -> Serve:
    return served(http_server)


@pytest.fixture(params=["combined", "hypercorn"])
def serve_http2(request: pytest.FixtureRequest) -> Serve:
    """A server that speaks HTTP/2, too."""
    return served(str(request.param))


def served(http_server: str) -> Serve:
    @asynccontextmanager
    async def serving(
        plugins: Iterable[object] = (), models: Iterable[ModelSettings] = MODELS, **values: Any
    ) -> AsyncIterator[Served]:
        settings = Settings(**{"http_port": 0, "host": "127.0.0.1", "http_server": http_server} | values)
        kernel = Kernel(settings, plugins=[mlsrv_rest.plugin, *plugins], models=models, discover=False)
        stop, up = asyncio.Event(), asyncio.Event()
        async with kernel:
            await kernel.loaded()
            task = asyncio.create_task(kernel.serve(stop.wait, started=up.set))
            task.add_done_callback(lambda _: up.set())
            await up.wait()
            if task.done():
                await task
            transport = kernel.transports["rest"]
            assert isinstance(transport, RestTransport)
            url = transport.endpoints[0]
            async with httpx.AsyncClient(base_url=url, timeout=20, verify=False) as client:
                yield Served(kernel, url, client, stop, task)
            stop.set()
            await task

    return serving
