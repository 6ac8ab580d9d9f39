"""Custom handlers of models over HTTP: below their model, and at the root where they ask for it."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import evolve

import mlsrv
from mlsrv import MLModel, ModelSettings
from mlsrv.context import CallContext
from mlsrv.errors import InferenceError
from mlsrv.handlers import Handlers, Reply, custom_handler
from mlsrv.testing import EchoModel


class Handling(MLModel):
    @custom_handler("/explain/{method}")
    async def explain(self, body: dict[str, Any], method: str, top: int = 3) -> dict[str, Any]:
        return {"model": self.name, "version": self.version, "method": method, "top": top, "body": body}

    @custom_handler("/picture", "GET")
    def picture(self, headers: dict[str, str]) -> Reply:
        return Reply(b"\x89PNG", 203, {"content-type": "image/png", "x-seen": headers["x-sent"]})

    @custom_handler("/refuse")
    async def refuse(self) -> None:
        raise InferenceError("not like this")

    @custom_handler("/line-break")
    async def line_break(self) -> Reply:
        return Reply(None, headers={"x-bad": "a\r\nset-cookie: b"})

    @custom_handler("/wait")
    async def wait(self, context: CallContext) -> None:
        assert context.remaining is not None
        await asyncio.Event().wait()

    @custom_handler("/invocations", root=True)
    async def invocations(self, body: bytes) -> str:
        return f"{self.name} got {len(body)} bytes"


MODELS = [
    ModelSettings(name="a b", implementation=Handling),
    ModelSettings(name="v", implementation=EchoModel, parameters={"version": "1"}),
    ModelSettings(
        name="v",
        implementation=type("Other", (EchoModel,), {"explain": Handling.explain}),
        parameters={"version": "2"},
    ),
]


async def test_a_handler_lies_below_its_model(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        client = served.client
        answer = await client.post("/v2/models/a%20b/explain/sh%2Fap?top=5", json={"a": 1})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "model": "a b",
            "version": None,
            "method": "sh/ap",
            "top": 5,
            "body": {"a": 1},
        }
        for path in ("/v2/models/v/explain/x", "/v2/models/v/versions/2/explain/x"):
            assert (await client.post(path, json={})).json()["version"] == "2"
        for path in ("/v2/models/v/versions/1/explain/x", "/v2/models/nope/explain/x", "/explain/x"):
            answer = await client.post(path, json={})
            assert (answer.status_code, list(answer.json())) == (404, ["error"])


async def test_bodies_status_and_headers_are_the_models(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        answer = await served.client.get("/v2/models/a%20b/picture", headers={"X-Sent": "yes"})
        assert (answer.status_code, answer.content) == (203, b"\x89PNG")
        assert (answer.headers["content-type"], answer.headers["x-seen"]) == ("image/png", "yes")


async def test_failures_have_the_form_of_the_protocol(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        client = served.client
        answer = await client.post("/v2/models/a%20b/refuse")
        assert (answer.status_code, answer.json()) == (400, {"error": "not like this"})
        answer = await client.post("/v2/models/a%20b/explain/x", content=b"{")
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
        answer = await client.post("/v2/models/a%20b/line-break")
        assert answer.status_code == 500
        assert "set-cookie" not in answer.headers
        answer = await client.post("/v2/models/a%20b/wait", headers={"x-request-timeout": "0.05"})
        assert (answer.status_code, list(answer.json())) == (504, ["error"])
        answer = await client.put("/v2/models/a%20b/picture")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
        assert list(answer.json()) == ["error"]


async def test_a_root_path_is_there_as_long_as_its_model(serve: Any) -> None:
    async with serve(models=MODELS) as served:
        client = served.client
        answer = await client.post("/invocations", content=b"12345")
        assert (answer.status_code, answer.text) == (200, "a b got 5 bytes")
        assert (await client.post("/v2/models/a%20b/invocations", content=b"")).status_code == 404
        assert (await client.get("/invocations")).status_code == 405
        await served.kernel.unload("a b")
        assert (await client.post("/invocations", content=b"12345")).status_code == 404


class Sharing(MLModel):
    @custom_handler("/ping", "GET", root="shared")
    async def ping(self) -> str:
        return self.name

    def custom_handlers(self) -> Handlers:
        claims = bool(self.settings.parameters.extra.get("claims"))
        return {
            name: evolve(options, shared=not claims) for name, options in super().custom_handlers().items()
        }


async def test_a_shared_path_is_that_of_the_only_model_or_of_the_one_that_claims_it(serve: Any) -> None:
    models = [
        ModelSettings(name="a", implementation=Sharing),
        ModelSettings(name="b", implementation=Sharing),
        ModelSettings(name="c", implementation=Sharing, parameters={"extra": {"claims": True}}),
    ]
    async with serve(models=models) as served:
        client, kernel = served.client, served.kernel
        assert (await client.get("/ping")).text == "c"
        for name in "abc":
            assert (await client.get(f"/v2/models/{name}/ping")).text == name
        await kernel.unload("c")
        answer = await client.get("/ping")
        assert answer.status_code == 404
        assert answer.json() == {
            "error": "Several models offer /ping: a, b; ask one of them, at /v2/models/NAME/ping."
        }
        answer = await client.post("/ping")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
        await kernel.unload("b")
        assert (await client.get("/ping")).text == "a"


class Noting:
    """A plugin whose middleware notes which routes were matched."""

    def __init__(self) -> None:
        self.routes: list[str | None] = []

    @mlsrv.hookimpl
    def mlsrv_rest_middleware(self, kernel: mlsrv.Kernel) -> Any:
        def around(app: Any) -> Any:
            async def noting(scope: Any, receive: Any, send: Any) -> None:
                await app(scope, receive, send)
                self.routes.append(scope["mlsrv.route"])

            return noting

        return around


async def test_middleware_hears_of_the_route_of_a_handler(serve: Any) -> None:
    plugin = Noting()
    async with serve(models=MODELS, plugins=[plugin]) as served:
        for path in ("/v2/models/v/versions/2/explain/x", "/v2/models/a%20b/explain/x", "/invocations"):
            await served.client.post(path, json={})
        await served.client.get("/v2/models/v/versions/2/explain/x")
    assert plugin.routes == [
        "/v2/models/{model}/versions/{version}/explain/{method}",
        "/v2/models/{model}/explain/{method}",
        "/invocations",
        None,
    ]
