"""Entry checks: pages of other sites, names of the host, the admin port, the setting repository_api."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

Serve = Callable[..., AbstractAsyncContextManager[Any]]

LOAD = "/v2/repository/models/echo/load"
INDEX = "/v2/repository/index"
INFER = "/v2/models/echo/infer"
TENSOR = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'


@pytest.mark.parametrize(
    ("path", "origin", "host", "status"),
    [
        (LOAD, None, None, 200),
        (LOAD, None, "anything.test", 200),
        (LOAD, "SAME", None, 200),
        (LOAD, "https://evil.test", None, 403),
        (LOAD, "null", None, 403),
        (LOAD, "", None, 403),
        (LOAD, "http://[", None, 403),
        (LOAD, "http://rebound.test:8080", "rebound.test:8080", 403),
        (LOAD, "http://localhost:1", "localhost:1", 200),
        (LOAD, "https://ops.test", None, 200),
        (INDEX, "https://evil.test", None, 403),
        (INFER, "https://evil.test", None, 200),
        ("/nowhere", "https://evil.test", None, 404),
    ],
)
async def test_pages_of_other_sites_cannot_control(
    serve: Serve, path: str, origin: str | None, host: str | None, status: int
) -> None:
    async with serve(http_control_origins=["https://ops.test/"]) as served:
        headers = {} if host is None else {"host": host}
        if origin is not None:
            headers["origin"] = served.url if origin == "SAME" else origin
        body = TENSOR if path == INFER else b""
        response = await served.client.post(path, headers=headers, content=body)
        assert response.status_code == status
        if status == 403:
            assert "sites" in response.json()["error"] or "not known as" in response.json()["error"]


async def test_cors_does_not_open_control_calls(serve: Serve) -> None:
    async with serve(cors_settings={"allow_origins": ["https://app.test"]}) as served:
        headers = {"origin": "https://app.test"}
        assert (await served.client.post(LOAD, headers=headers)).status_code == 403
        assert (await served.client.post(INFER, headers=headers, content=TENSOR)).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("models.test", 200),
        ("models.test:8080", 200),
        ("MODELS.test", 200),
        ("localhost", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("evil.test", 403),
        ("models.test.evil.test", 403),
        ("evil-models.test", 403),
    ],
)
async def test_other_names_of_the_host_are_refused_where_they_are_listed(
    serve: Serve, host: str, status: int
) -> None:
    async with serve(http_allowed_hosts=["models.test"]) as served:
        assert (await served.client.get("/v2", headers={"host": host})).status_code == status
        response = await served.client.post(INFER, headers={"host": host}, content=TENSOR)
        assert response.status_code == status


async def test_control_calls_are_taken_at_the_admin_port_alone(serve: Serve) -> None:
    async with serve(admin_port=0, admin_host="127.0.0.1") as served:
        _, admin = served.kernel.transports["rest"].endpoints
        for path in (LOAD, INDEX, "/v2/repository/models/echo/unload"):
            refused = await served.client.post(path)
            assert refused.status_code == 403
            assert "admin address" in refused.json()["error"]
        assert (await served.client.post(INFER, content=TENSOR)).status_code == 200
        async with httpx.AsyncClient(base_url=admin, timeout=20) as client:
            assert (await client.post(LOAD)).status_code == 200
            assert (await client.post(INFER, content=TENSOR)).status_code == 200
        assert (await served.client.get("/v2/health/ready")).status_code == 200


@pytest.mark.parametrize(
    ("allowed", "index", "load"), [("off", 403, 403), ("read", 200, 403), ("full", 200, 200)]
)
async def test_the_repository_api_can_be_closed(serve: Serve, allowed: str, index: int, load: int) -> None:
    async with serve(repository_api=allowed) as served:
        assert (await served.client.post(INDEX)).status_code == index
        assert (await served.client.post(LOAD)).status_code == load
        assert (await served.client.post(INFER, content=TENSOR)).status_code == 200


async def test_control_calls_are_noted_in_the_audit_log(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with serve(audit_log=str(path)) as served:
        await served.client.post(f"{LOAD}?token=secret", headers={"authorization": "Bearer secret"})
        await served.client.post("/v2/repository/models/unknown/load", content=b'{"parameters": {}}')
        await served.client.post(INFER, content=TENSOR)
    first, second = map(json.loads, path.read_text().splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "principal": None,
        "peer": "127.0.0.1",
        "transport": "rest",
        "operation": f"POST {LOAD}",
        "action": "repository",
        "model": "echo",
        "result": "OK",
    }
    assert (second["model"], second["result"]) == ("unknown", "NOT_FOUND")
    assert "secret" not in path.read_text()
