"""Control of the model repository, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from mlsrv import ModelSettings
from mlsrv.testing import EchoModel

BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
TWO = [
    ModelSettings(name="m", implementation=EchoModel, parameters={"version": version})
    for version in ("v9", "v10")
]


async def test_models_are_unloaded_and_loaded_again(serve: Any) -> None:
    async with serve() as served:
        client = served.client
        assert (await client.post("/v2/repository/models/echo/unload")).status_code == 200
        assert (await client.post("/v2/models/echo/infer", json=BODY)).status_code == 503
        assert (await client.get("/v2/health/ready")).status_code == 200
        index = {item["name"]: item for item in (await client.post("/v2/repository/index")).json()}
        assert index["echo"]["state"] == "UNAVAILABLE"
        answer = await client.post("/v2/repository/models/echo/load", json={})
        assert (answer.status_code, answer.content) == (200, b"")
        assert (await client.post("/v2/models/echo/infer", json=BODY)).status_code == 200


async def test_names_are_decoded_and_repositories_ignored(serve: Any) -> None:
    async with serve() as served:
        path = "/v2/repository/anything/models/my%20%C3%A9"
        assert (await served.client.post(f"{path}/unload")).status_code == 200
        assert (await served.client.post(f"{path}/load")).status_code == 200


async def test_the_index_filters_and_takes_any_body(serve: Any) -> None:
    async with serve(models=TWO) as served:
        index = served.client.post
        for body in (b"", b"{}", b'{"ready":false}', b'{"ready":true}'):
            answer = await index("/v2/repository/index", content=body)
            assert [(item["name"], item["version"], item["state"]) for item in answer.json()] == [
                ("m", "v9", "READY"),
                ("m", "v10", "READY"),
            ]
        await index("/v2/repository/models/m/unload", json={"parameters": {"unload_dependents": False}})
        assert (await index("/v2/repository/index", json={"ready": True})).json() == []
        assert len((await index("/v2/repository/index", json={"ready": False})).json()) == 2


async def test_versions_are_addressed_and_the_highest_is_the_default(serve: Any) -> None:
    async with serve(models=TWO) as served:
        for path, version in (("", "v10"), ("/versions/v9", "v9"), ("/versions/v10", "v10")):
            answer = await served.client.post(f"/v2/models/m{path}/infer", json=BODY)
            assert answer.json()["model_version"] == version


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("index", b'{"ready":1}', 400),
        ("index", b"[]", 400),
        ("index", b"{", 400),
        ("models/nope/load", b"", 404),
        ("models/nope/unload", b"", 404),
        ("models/..%2Fetc/load", b"", 404),
        ("models/%2Fetc%2Fpasswd/load", b"", 404),
        ("models/../load", b"", 404),
        ("models/echo/load", b'{"parameters":{"config":"{}"}}', 400),
        ("models/echo/load", b'{"parameters":{"file:1/model":"YQ=="}}', 400),
        ("models/echo/load", b'{"parameters":[]}', 400),
    ],
)
async def test_invalid_requests_are_refused_with_a_reason(
    serve: Any, path: str, body: bytes, status: int
) -> None:
    async with serve() as served:
        wire = await served.wire()
        answer = await wire.post(f"/v2/repository/{path}", body)
        assert answer.status == status
        assert b'"error"' in answer.body
        assert (await wire.post("/v2/repository/index", b"")).status == 200
        await wire.close()
