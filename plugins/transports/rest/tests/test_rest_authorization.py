"""Authorization over HTTP: asked before a body is read, for every path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from named_authorizer import NamedAuthorizer, Who
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

import mlsrv
from mlsrv import ModelSettings
from mlsrv.authorization import requires
from mlsrv.handlers import custom_handler
from mlsrv.testing import EchoModel

TENSOR = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'

RIGHTS: dict[str, Any] = {
    "all": {action: ["*"] for action in ("infer", "metadata", "health", "repository", "docs", "admin")},
    "one": {"infer": ["echo"], "metadata": ["echo"], "repository": ["echo", "models"]},
    "none": {},
}


class Handling(Who):
    """Offers a handler at the root of the server, too."""

    @custom_handler(rest_path="/who", root="shared")
    async def who(self) -> dict[str, str]:
        return {"is": "there"}


class Plugin(NamedAuthorizer):
    @mlsrv.hookimpl
    def mlsrv_rest_routes(self) -> Any:
        @requires("docs")
        async def marked(request: Request) -> JSONResponse:
            return JSONResponse(request.scope["mlsrv.principal"].name)

        async def unmarked(request: Request) -> JSONResponse:
            return JSONResponse("secret")

        files = Starlette(routes=[Route("/{file}", unmarked)])
        return [Route("/marked", marked), Route("/unmarked", unmarked), Mount("/files", files)]


MODELS = [
    ModelSettings(name="echo", implementation=EchoModel),
    ModelSettings(name="models", implementation=EchoModel),
    ModelSettings(name="who", implementation=Handling),
]

Serve = Callable[..., AbstractAsyncContextManager[Any]]


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


@pytest.mark.parametrize(
    ("verb", "path", "name", "status"),
    [
        ("GET", "/v2", "all", 200),
        ("GET", "/v2", "stranger", 401),
        ("GET", "/v2", "none", 403),
        ("GET", "/v2", "fast", 429),
        ("GET", "/v2", "broken", 500),
        ("GET", "/v2/models/echo", "one", 200),
        ("GET", "/v2/models/who", "one", 403),
        ("GET", "/v2/models/unknown", "one", 403),
        ("GET", "/v2/models/unknown", "all", 404),
        ("POST", "/v2/models/echo/infer", "one", 200),
        ("POST", "/v2/models/who/infer", "one", 403),
        ("POST", "/v2/models/who/infer", "stranger", 401),
        ("POST", "/v2/models/echo/versions/1/infer", "one", 404),
        ("GET", "/v2/models/echo/infer", "none", 403),
        ("GET", "/v2/models/echo/infer", "one", 405),
        ("GET", "/v2/health/live", "one", 403),
        ("GET", "/v2/health/live", "all", 200),
        ("POST", "/v2/repository/models/echo/load", "one", 200),
        ("POST", "/v2/repository/models/models/load", "one", 200),
        ("POST", "/v2/repository/models/who/load", "one", 403),
        ("POST", "/v2/repository/anything/models/who/unload", "one", 403),
        ("DELETE", "/v2/repository/models/who/load", "one", 403),
        ("DELETE", "/v2/repository/models/echo/load", "one", 405),
        ("POST", "/who", "all", 200),
        ("POST", "/who", "one", 403),
        ("POST", "/v2/models/who/who", "one", 403),
        ("GET", "/marked", "all", 200),
        ("GET", "/marked", "one", 403),
        ("GET", "/unmarked", "one", 403),
        ("GET", "/unmarked", "all", 200),
        ("GET", "/files/a", "one", 403),
        ("GET", "/files/a", "all", 200),
        ("GET", "/v2/models/who/nothing", "one", 403),
        ("GET", "/v2/models/unknown/nothing", "one", 403),
        ("GET", "/v2/models/echo/nothing", "one", 404),
        ("GET", "/nothing", "stranger", 401),
        ("GET", "/nothing", "none", 404),
        ("GET", "/v2/%FF", "stranger", 401),
        ("GET", "/v2/%FF", "none", 400),
        ("GET", "//v2/health/live", "stranger", 401),
    ],
)
async def test_each_path_needs_its_right(serve: Serve, verb: str, path: str, name: str, status: int) -> None:
    async with serve(models=MODELS, plugins=[Plugin(RIGHTS)]) as served:
        body = TENSOR if path.endswith(("infer", "who")) else b""
        response = await served.client.request(verb, path, headers=key(name), content=body)
        assert response.status_code == status
        if status >= 400:
            assert set(response.json()) == {"error"}
        assert response.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
        assert response.headers.get("retry-after") == ("3" if status == 429 else None)


async def test_what_an_authorizer_is_asked(serve: Serve) -> None:
    plugin = Plugin(RIGHTS)
    async with serve(models=MODELS, plugins=[plugin]) as served:
        await served.client.post("/v2/models/ec%68o/infer?token=1", headers=key("one"), content=TENSOR)
    (access,) = plugin.asked
    assert (access.action, access.model, access.transport) == ("infer", "echo", "rest")
    assert (access.operation, access.peer) == ("POST /v2/models/ec%68o/infer", "127.0.0.1")
    assert access.headers["authorization"] == "Bearer one"


async def test_lists_show_the_models_of_the_key_alone(serve: Serve) -> None:
    async with serve(models=MODELS, plugins=[Plugin(RIGHTS)]) as served:
        client = served.client
        assert (await client.get("/v2/models", headers=key("one"))).json() == {"models": ["echo"]}
        found = (await client.post("/v2/repository/index", headers=key("one"))).json()
        assert {item["name"] for item in found} == {"echo", "models"}
        found = (await client.get("/v2/models/stats", headers=key("one"))).json()["model_stats"]
        assert {item["name"] for item in found} == {"echo"}


async def test_the_model_sees_who_asks(serve: Serve) -> None:
    async with serve(models=MODELS, plugins=[Plugin(RIGHTS)]) as served:
        for path in ("infer", "infer_stream"):
            response = await served.client.post(f"/v2/models/who/{path}", headers=key("all"), content=TENSOR)
            assert '"principal":"all"' in response.text


async def test_a_refused_request_is_answered_before_its_body_comes(serve: Serve) -> None:
    async with serve(models=MODELS, plugins=[Plugin(RIGHTS)]) as served:
        wire = await served.wire()
        head = b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: test\r\ncontent-length: 100000000\r\n\r\n"
        wire.writer.write(head)
        answer = await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), 20)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in answer.lower()
        wire.writer.close()


async def test_a_connection_is_kept_after_the_refusal_of_a_small_body(serve: Serve) -> None:
    async with serve(models=MODELS, plugins=[Plugin(RIGHTS)]) as served:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=served.url, limits=limits, timeout=20) as client:
            for _ in range(2):
                response = await client.post("/v2/models/echo/infer", content=TENSOR)
                assert response.status_code == 401
                assert "connection" not in response.headers
            response = await client.post("/v2/models/echo/infer", content=TENSOR, headers=key("one"))
            assert response.status_code == 200


async def test_readiness_names_models_to_those_that_may_know_them_alone(serve: Serve) -> None:
    broken = ModelSettings(name="secret-model", implementation="no.such.Model")
    rights = RIGHTS | {"probe": {"health": ["*"], "metadata": ["echo"]}}
    async with serve(models=[*MODELS, broken], plugins=[Plugin(rights)]) as served:
        answers = [
            await served.client.get("/v2/health/ready", headers=key(name)) for name in ("all", "probe")
        ]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert "secret-model" in answers[0].json()["error"]
    assert answers[1].json()["error"] == "The server is not ready."
