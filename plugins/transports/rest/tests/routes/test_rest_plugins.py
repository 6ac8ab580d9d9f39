"""Routes of other plugins."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

import mlsrv
import mlsrv_rest.plugin
from mlsrv import Kernel
from mlsrv.errors import ConfigurationError, TooLarge
from mlsrv_rest import create_app


class Routes:
    """A plugin with the given routes."""

    def __init__(self, name: str, routes: Any) -> None:
        self.__name__ = name
        self._routes = routes

    @mlsrv.hookimpl
    def mlsrv_rest_routes(self, kernel: Kernel) -> Any:
        self.kernel = kernel
        return self._routes


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"body": (await request.body()).decode(), "params": request.path_params})


async def raising(request: Request) -> PlainTextResponse:
    match request.path_params["kind"]:
        case "http":
            raise HTTPException(418, "Short and stout.", {"X-Pot": "tea"})
        case "bare":
            raise HTTPException(409)
        case "missing":
            raise HTTPException(404, "No such pot.")
        case "ours":
            raise TooLarge.of(3)
        case _:
            raise RuntimeError("a secret")


async def breaking(request: Request) -> StreamingResponse:
    async def chunks() -> Any:
        yield b"first"
        raise RuntimeError("half-way")

    return StreamingResponse(chunks())


async def test_a_plugin_adds_routes(serve: Any) -> None:
    routes = [Route("/hello", hello), Route("/echo/{a}/{b:path}", echo, methods=["POST", "GET"])]
    plugin = Routes("greeter", routes)
    async with serve(plugins=[plugin, Routes("nothing", None)]) as served:
        assert plugin.kernel is served.kernel
        assert (await served.client.get("/hello")).text == "hello"
        answer = await served.client.post("/echo/x%20y/z/1", content=b"data")
        assert answer.json() == {"body": "data", "params": {"a": "x y", "b": "z/1"}}
        wrong = await served.client.delete("/echo/x/y")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_paths_without_parameters_come_first(serve: Any) -> None:
    routes = [Route("/{rest:path}", echo), Route("/v2/models/special", hello)]
    async with serve(plugins=[Routes("greeter", routes)]) as served:
        assert (await served.client.get("/v2/models/special")).text == "hello"
        assert (await served.client.get("/v2/models/echo")).json()["name"] == "echo"
        assert (await served.client.get("/v2/health/live")).json() == {"live": True}
        assert (await served.client.get("/a/b")).json()["params"] == {"rest": "a/b"}


async def test_several_methods_of_one_path_from_two_plugins(serve: Any) -> None:
    plugins = [Routes("a", Route("/thing", hello)), Routes("b", Route("/thing", echo, methods=["PUT"]))]
    async with serve(plugins=plugins) as served:
        assert (await served.client.get("/thing")).text == "hello"
        assert (await served.client.put("/thing", content=b"1")).json()["body"] == "1"
        assert (await served.client.delete("/thing")).headers["allow"] == "GET, HEAD, PUT"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (Route("/x/{a}", hello), Route("/x/{b}", hello), "/x/{b} comes from both alpha and beta"),
        (
            Route("/x", hello, methods=["PUT", "GET"]),
            Route("/x", hello, methods=["PUT"]),
            "PUT /x comes from both alpha",
        ),
        (None, Route("/v2/models/{m}", hello), "both mlsrv-rest and beta"),
        (None, "/v2", "beta returned a str"),
        (None, [hello], "beta returned a function"),
    ],
)
def test_clashes_stop_the_start(first: Any, second: Any, message: str) -> None:
    plugins = [mlsrv_rest.plugin, Routes("alpha", first), Routes("beta", second)]
    with pytest.raises(ConfigurationError, match=message):
        create_app(Kernel(plugins=plugins, discover=False))


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("http", 418, "Short and stout."),
        ("bare", 409, "Conflict"),
        ("missing", 404, "No such pot."),
        ("ours", 413, "The request body is larger than the limit of 3 bytes."),
    ],
)
async def test_errors_of_endpoints_take_the_protocols_form(
    serve: Any, kind: str, status: int, error: str
) -> None:
    async with serve(plugins=[Routes("p", Route("/raise/{kind}", raising))]) as served:
        response = await served.client.get(f"/raise/{kind}")
        assert (response.status_code, response.json()) == (status, {"error": error})
        assert response.headers["content-type"] == "application/json"
        assert response.headers.get("x-pot") == ("tea" if kind == "http" else None)


async def test_an_endpoint_that_breaks(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    routes = [Route("/raise/{kind}", raising), Route("/breaking", breaking)]
    async with serve(plugins=[Routes("p", routes)]) as served:
        response = await served.client.get("/raise/other")
        assert response.status_code == 500
        assert response.json()["error"].startswith("Internal server error (request ")
        assert "a secret" in caplog.text
        wire = await served.wire()
        await wire.send(b"GET /breaking HTTP/1.1\r\nhost: x\r\n\r\n")
        sent = await wire.ended()
        assert b"first" in sent
        assert not sent.endswith(b"0\r\n\r\n"), "a broken answer must not look complete"
        await wire.close()
        ours = [
            record
            for record in caplog.records
            if record.name == "mlsrv.requests" and record.levelno == logging.ERROR
        ]
        assert any("half-way" in record.getMessage() for record in ours)
        assert (await served.client.get("/v2/health/live")).status_code == 200


class Middleware:
    """A plugin that notes what passes, under its name, and puts it into a header."""

    def __init__(self, name: str, notes: list[Any]) -> None:
        self.__name__ = name
        self.notes = notes

    @mlsrv.hookimpl
    def mlsrv_rest_middleware(self, kernel: Kernel) -> Any:
        def around(app: Any) -> Any:
            async def noting(scope: Any, receive: Any, send: Any) -> None:
                self.notes.append(self.__name__)
                await app(scope, receive, send)
                self.notes.append(scope.get("mlsrv.route"))

            return noting

        return around


async def test_middleware_is_nested_by_name(serve: Any) -> None:
    notes: list[Any] = []
    async with serve(plugins=[Middleware("b", notes), Middleware("a", notes)]) as served:
        await served.client.get("/v2/health/live")
        assert notes == ["a", "b", "/v2/health/live", "/v2/health/live"]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/models/echo/infer", "/v2/models/{model}/infer"),
        ("/v2/models/my%20%C3%A9/versions/v%201/infer", "/v2/models/{model}/versions/{version}/infer"),
        ("/v2/models/unknown/infer", "/v2/models/{model}/infer"),
        ("/v2/models/echo/infer_stream", "/v2/models/{model}/infer_stream"),
        ("/v2/models/echo/nothing", None),
        ("/nothing", None),
        ("/echo/x/y/z", "/echo/{a}/{b:path}"),
    ],
)
async def test_middleware_hears_of_the_route(serve: Any, path: str, route: str | None) -> None:
    notes: list[Any] = []
    plugins = [Routes("routes", Route("/echo/{a}/{b:path}", echo, methods=["POST"])), Middleware("m", notes)]
    async with serve(plugins=plugins) as served:
        await served.client.post(path, content=b"not even JSON")
        assert notes == ["m", route]


def test_middleware_must_be_callable() -> None:
    class Wrong:
        @mlsrv.hookimpl
        def mlsrv_rest_middleware(self, kernel: Kernel) -> Any:
            return 1

    kernel = Kernel(plugins=[mlsrv_rest.plugin, Wrong()], discover=False)
    with pytest.raises(ConfigurationError, match="returned a int for mlsrv_rest_middleware"):
        create_app(kernel)
