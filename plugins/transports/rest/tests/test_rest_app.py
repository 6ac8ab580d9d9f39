"""The application mounted in another application, under a prefix, and under bare ASGI servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import mlsrv
import mlsrv_rest.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel
from mlsrv_rest import create_app

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'


async def root(request: Request) -> PlainTextResponse:
    return PlainTextResponse("the outer application")


class Linked:
    """A plugin whose endpoint knows where it is."""

    @mlsrv.hookimpl
    def mlsrv_rest_routes(self) -> Route:
        async def linked(request: Request) -> PlainTextResponse:
            return PlainTextResponse(str(request.url_for("linked")))

        return Route("/linked", linked, name="linked")


def kernel(**settings: Any) -> Kernel:
    models = [ModelSettings(name="my é", implementation=EchoModel)]
    return Kernel(settings, plugins=[mlsrv_rest.plugin, Linked()], models=models, discover=False)


@contextlib.asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("prefix", ["", "/ml", "/deep/er"])
async def test_mounted_in_another_application(prefix: str) -> None:
    running = kernel()
    outer = Starlette(routes=[Route("/", root), Mount(prefix, app=create_app(running))])
    async with running, client_of(outer) as client:
        await running.loaded()
        assert (await client.get("/")).text == "the outer application"
        assert (await client.get(f"{prefix}/v2/health/ready")).json() == {"ready": True, "live": True}
        answer = await client.post(f"{prefix}/v2/models/my%20%C3%A9/infer", content=BODY)
        assert answer.json()["outputs"][0]["data"] == [1.0, 2.5]
        assert (await client.get(f"{prefix}/linked")).text == f"http://test{prefix}/linked"
        missing = await client.get(f"{prefix}/v2/nope")
        assert missing.status_code == 404
        assert missing.json() == {"error": f"There is nothing at {prefix}/v2/nope"}
        wrong = await client.post(f"{prefix}/v2")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")


async def test_a_mount_with_a_parameter() -> None:
    running = kernel()
    outer = Starlette(routes=[Mount("/{tenant}", app=create_app(running))])
    async with running, client_of(outer) as client:
        await running.loaded()
        answer = await client.post("/a%20b/v2/models/my%20%C3%A9/infer", content=BODY)
        assert answer.status_code == 200
        assert (await client.get("/a%20b/v2/models/my%20%C3%A9/ready")).json()["ready"] is True


async def test_a_root_path_serves_both_forms_of_a_path() -> None:
    running = kernel(root_path="/ml")
    async with running, client_of(create_app(running)) as client:
        await running.loaded()
        for path in (
            "/v2/health/live",
            "/ml/v2/health/live",
            "/ml/v2/models/my%20%C3%A9",
            "/ml/v2/",
            "/ml/v2",
        ):
            assert (await client.get(path)).status_code == 200
        for path in ("/ml/v2/models/my%20%C3%A9/infer", "/v2/models/my%20%C3%A9/infer"):
            assert (await client.post(path, content=BODY)).status_code == 200
        for path in ("/linked", "/ml/linked"):
            assert (await client.get(path)).text == "http://test/ml/linked"
        assert (await client.get("/ml")).status_code == 404


async def test_without_the_plugin_the_defaults_hold() -> None:
    running = Kernel(discover=False)
    async with running, client_of(create_app(running)) as client:
        assert (await client.get("/v2/health/live")).json() == {"live": True}


async def test_before_and_after_the_kernel_runs() -> None:
    stopped = kernel()
    app = create_app(stopped)
    async with client_of(app) as client:
        assert (await client.get("/v2/health/ready")).status_code == 503
        assert (await client.post("/v2/models/my%20%C3%A9/infer", content=BODY)).status_code == 503
        async with stopped:
            await stopped.loaded()
            assert (await client.get("/v2/health/ready")).status_code == 200
        after = await client.post("/v2/models/my%20%C3%A9/infer", content=BODY)
        assert after.status_code == 503
        assert "error" in after.json()


async def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await create_app(kernel())({"type": "websocket", "path": "/v2"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def _uvicorn(app: Any, port: int, stop: asyncio.Event) -> None:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="on", log_config=None))
    serving = asyncio.create_task(server._serve())
    await stop.wait()
    server.should_exit = True
    await serving


async def _hypercorn(app: Any, port: int, stop: asyncio.Event) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.errorlog = None
    await serve(app, config, shutdown_trigger=stop.wait)


@pytest.mark.parametrize("server", [_uvicorn, _hypercorn])
async def test_under_a_bare_server(server: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running, stop = kernel(), asyncio.Event()
    async with running:
        await running.loaded()
        serving = asyncio.create_task(server(create_app(running), port, stop))
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", transport=httpx.AsyncHTTPTransport(retries=8)
        ) as client:
            assert (await client.get("/v2/health/ready")).json() == {"ready": True, "live": True}
            answer = await client.post("/v2/models/my%20%C3%A9/infer", content=BODY)
            assert answer.json()["outputs"][0]["data"] == [1.0, 2.5]
        stop.set()
        await serving
