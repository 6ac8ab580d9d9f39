"""Custom handlers that take the request itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import mlserver
import pydantic
import pytest
from mlserver import types
from mlserver.errors import MLServerError
from mlserver.handlers import custom_handler
from starlette.requests import Request
from starlette.responses import JSONResponse

import mlsrv
from served import served


class Body(pydantic.BaseModel):
    text: str


class Raw(mlserver.MLModel):
    @custom_handler("/raw/{kind}", "GET")
    async def of_get(self, request: Request, kind: str, headers: str = "none") -> JSONResponse:
        found = [request.method, request.url.path, request.path_params, dict(request.query_params), kind]
        return JSONResponse([*found, request.headers["x-custom"], (await request.body()).decode()])

    @custom_handler("/raw/both")
    async def of_post(self, top: int, payload: Body, request: Request) -> dict[str, Any]:
        return {"top": top, "text": payload.text, "body": await request.json()}

    @custom_handler("/raw/refused", "PUT")
    async def refuses(self, request: Request) -> None:
        raise MLServerError(f"{len(await request.body())} bytes", 413)

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        return types.InferenceResponse(model_name=self.name, outputs=[])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "answer"),
    [
        (
            "GET",
            "/raw/one%20two?a=1&b=x+y",
            None,
            200,
            [
                "GET",
                "/raw/one two",
                {"kind": "one two"},
                {"a": "1", "b": "x y"},
                "one two",
                "mine",
                "",
            ],
        ),
        ("POST", "/raw/both?top=2", {"text": "a"}, 200, {"top": 2, "text": "a", "body": {"text": "a"}}),
        ("POST", "/raw/both?top=2", {"text": 1}, 400, {"error": "text: Input should be a valid string."}),
        ("POST", "/raw/both", {"text": "a"}, 400, {"error": "The request lacks top."}),
        ("PUT", "/raw/refused", [1, 2], 413, {"error": "6 bytes"}),
        ("PUT", "/raw/refused", None, 413, {"error": "0 bytes"}),
    ],
)
async def test_a_handler_gets_the_request_itself(
    method: str, path: str, body: Any, status: int, answer: Any
) -> None:
    model = mlsrv.ModelSettings(name="raw", implementation=Raw)
    async with served([model], parallel_workers=0) as found:
        assert found.kernel.problems() == []
        data = None if body is None else json.dumps(body).encode()
        response = await asyncio.to_thread(
            httpx.request, method, found.rest + path, content=data, headers={"x-custom": "mine"}, timeout=30
        )
    assert (response.status_code, response.json()) == (status, answer)
