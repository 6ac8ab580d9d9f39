"""Probes of a server with keys: what is too large, malformed or wrong is refused, and no key is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from probing_models import Curious

from mlsrv import Kernel, ModelSettings
from mlsrv.authorization import ACTIONS, Limits
from mlsrv.testing import EchoModel
from mlsrv_keys.key_file import Key, write_keys
from mlsrv_protocol.client import AsyncClient
from served import served

TENSOR = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}'
INFER = "/v2/models/echo/infer"
LOAD = "/v2/repository/models/echo/load"


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[tuple[str, dict[str, str]]]:
    texts, kept = {}, {}
    for name, rights, limits in (
        ("robot", {"infer": ("echo",)}, Limits()),
        ("operator", {"repository": ("*",)}, Limits()),
        ("slow", {"infer": ("echo",)}, Limits(rate=0.001)),
    ):
        key, texts[name] = Key.make(name, rights, limits=limits)
        kept[key.id] = key
    write_keys(folder / "keys.json", kept)
    given = {
        "host": "127.0.0.1",
        "http_port": 0,
        "metrics_endpoint": None,
        "keys_file": str(folder / "keys.json"),
        **settings,
    }
    stop, listening = asyncio.Event(), asyncio.Event()
    models = [ModelSettings(name="echo", implementation=EchoModel)]
    async with Kernel(given, models=models, block=["grpc", "kafka", "workers", "files"]) as kernel:
        await kernel.loaded()
        task = asyncio.create_task(kernel.serve(stop.wait, listening.set))
        await asyncio.wait_for(listening.wait(), 60)
        yield kernel.transports["rest"].endpoints[0], texts
        stop.set()
        await task


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_probes_are_refused_and_leave_no_key_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    audit = tmp_path / "audit.jsonl"
    settings = {"access_log": True, "debug": True, "audit_log": str(audit)}
    async with (
        serving(tmp_path, **settings) as (url, keys),
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):

        async def status(path: str, headers: dict[str, str]) -> int:
            return (await client.post(path, headers=headers, content=TENSOR)).status_code

        robot, operator = bearer(keys["robot"]), bearer(keys["operator"])
        assert await status(INFER, robot) == 200
        assert await status(LOAD, operator) == 200
        assert await status(f"{INFER}?key={keys['robot']}", {}) == 401
        assert await status(INFER, bearer("k" * 30_000)) == 401
        assert await status(INFER, robot | {"x-filler": "a" * 2**16}) in (400, 431)
        assert await status(LOAD, operator | {"origin": "https://evil.test"}) == 403
        assert await status(INFER, bearer(keys["robot"].replace("mlsrv_", "MLSRV_"))) == 401
        assert await status(INFER, {"authorization": keys["robot"]}) == 401
        assert await status(INFER, {"authorization": ""}) == 401
        assert [await status(INFER, bearer(keys["slow"])) for _ in range(2)] == [200, 429]
        assert await status(INFER, robot) == 200
    secrets = [key.split("_", 2)[2] for key in keys.values()]
    logged = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("mlsrv"))
    assert "/v2/models/echo/infer 401" in logged
    for text in (logged, audit.read_text()):
        assert [secret for secret in secrets if secret in text] == []
    assert "robot" in audit.read_text() or "operator" in audit.read_text()


@pytest.mark.parametrize("workers", [0, 1])
async def test_models_do_not_get_the_keys_of_clients(tmp_path: Path, workers: int) -> None:
    key, text = Key.make("robot", dict.fromkeys(ACTIONS, ("*",)))
    write_keys(tmp_path / "keys.json", {key.id: key})
    models = [ModelSettings(name="curious", implementation=Curious)]
    settings = {"keys_file": str(tmp_path / "keys.json"), "keys_header": "x-api-key"}
    path, secret = "/v2/models/curious", text.split("_", 2)[2]
    async with served(models, parallel_workers=workers, **settings) as server:
        for headers in ({"authorization": f"Bearer {text}"}, {"x-api-key": text}):
            async with httpx.AsyncClient(base_url=server.rest, timeout=60, headers=headers) as client:
                answers = [
                    (await client.post(f"{path}/infer", content=TENSOR)).text,
                    (await client.post(f"{path}/look")).text,
                ]
            async with AsyncClient(f"grpc://{server.grpc}", headers=headers) as client:
                answers.append(repr((await client.infer("curious", {"x": np.ones(1)})).response))
            for answer in answers:
                assert "principal robot" in answer
                assert secret not in answer


async def test_a_key_that_is_revoked_ends_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as (url, keys), httpx.AsyncClient(base_url=url, timeout=60) as client:
        headers = bearer(keys["robot"])
        assert (await client.post(INFER, headers=headers, content=TENSOR)).status_code == 200
        write_keys(tmp_path / "keys.json", {})
        async with asyncio.timeout(60):
            while (await client.post(INFER, headers=headers, content=TENSOR)).status_code != 401:
                await asyncio.sleep(0.05)
