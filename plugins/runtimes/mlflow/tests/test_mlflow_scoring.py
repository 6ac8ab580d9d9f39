"""MLflow's endpoints, beside ``mlflow models serve`` with the same models: the same answers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.version import VERSION
from mlflow_models import FLOWERS, wait_until_alive

from mlsrv import ModelSettings
from mlsrv.errors import ModelLoadError
from served import SECONDS, served

KINDS = ("columns", "matrix", "everything")
JSON = "application/json"
COLUMNS = list(FLOWERS.columns)
VALUES = FLOWERS.iloc[[0, 60, 140]].to_numpy().tolist()
SPLIT = {"columns": COLUMNS, "data": VALUES}
RECORDS = [dict(zip(COLUMNS, row, strict=True)) for row in VALUES]
CSV = FLOWERS[:2].to_csv(index=False)
ROW = {
    "flag": True,
    "small": 1,
    "large": 2**40,
    "single": 1.5,
    "double": 2.5,
    "text": "t",
    "blob": "AQI=",
    "when": "2026-01-02T03:04:05",
    "list": [1, 2],
    "map": {"k": "v"},
    "object": {"a": 1},
    "any": {"x": [1, "b"]},
}

GOOD: list[tuple[str, str, Any]] = [
    ("columns", JSON, {"dataframe_split": SPLIT}),
    ("columns", JSON, {"dataframe_split": {**SPLIT, "index": [5, 6, 7]}}),
    ("columns", JSON, {"dataframe_split": {"columns": COLUMNS[::-1], "data": [row[::-1] for row in VALUES]}}),
    ("columns", JSON, {"dataframe_records": RECORDS}),
    ("columns", JSON, {"inputs": FLOWERS[:2].to_dict("list")}),
    ("columns", JSON, {"instances": RECORDS}),
    ("columns", JSON, {"dataframe_split": SPLIT, "params": {"unknown": 1}}),
    ("columns", f"{JSON}; charset=utf-8", {"dataframe_split": SPLIT}),
    ("columns", "text/csv", CSV),
    ("columns", "text/csv; charset=utf-8", CSV),
    ("matrix", JSON, {"inputs": VALUES}),
    ("matrix", JSON, {"instances": VALUES}),
    ("matrix", JSON, {"dataframe_split": SPLIT}),
    ("everything", JSON, {"dataframe_records": [ROW, {**ROW, "note": "n"}]}),
    ("everything", JSON, {"dataframe_records": [ROW], "params": {"scale": 2, "names": ["x", "y"]}}),
]
BAD: list[tuple[str, str, Any]] = [
    ("columns", "text/plain", "x"),
    ("columns", "", "{}"),
    ("columns", f"{JSON}; charset=latin-1", {"dataframe_split": SPLIT}),
    ("columns", f"{JSON}; format=pandas-split", {"dataframe_split": SPLIT}),
    ("columns", JSON, ""),
    ("columns", JSON, "{"),
    ("columns", JSON, b"\xff{}"),
    ("columns", JSON, "[1]"),
    ("columns", JSON, {}),
    ("columns", JSON, {"unknown": [1]}),
    ("columns", JSON, {"dataframe_split": SPLIT, "inputs": [1]}),
    ("columns", JSON, {"dataframe_split": 5}),
    ("columns", JSON, {"dataframe_split": {"columns": COLUMNS}}),
    ("columns", JSON, {"dataframe_split": {"columns": COLUMNS, "data": [[1, 2]]}}),
    ("columns", JSON, {"dataframe_split": {"columns": COLUMNS[:3], "data": [[1.0, 2.0, 3.0]]}}),
    ("columns", JSON, {"dataframe_split": {"columns": COLUMNS, "data": [["a", "b", "c", "d"]]}}),
    ("columns", JSON, {"dataframe_split": {"columns": COLUMNS, "data": [[None] * 4]}}),
    ("columns", JSON, {"dataframe_records": []}),
    ("columns", JSON, {"inputs": None}),
    ("columns", JSON, {"inputs": "x"}),
    ("columns", JSON, {"instances": [{"a": 1}, 2]}),
    ("columns", JSON, '{"inputs": NaN}'),
    ("columns", "text/csv", ""),
    ("columns", "text/csv", b"\xff\xfe"),
    ("columns", "application/vnd.apache.parquet", b"no parquet"),
    ("matrix", JSON, {"inputs": [[1, 2, 3]]}),
    ("matrix", JSON, {"inputs": [["a"] * 4]}),
    ("matrix", JSON, {"inputs": [[1, 2, 3, 4], [1]]}),
    ("matrix", JSON, {"inputs": []}),
    ("matrix", "text/csv", CSV),
    ("everything", JSON, {"dataframe_records": [ROW], "params": {"scale": "wide"}}),
    ("everything", JSON, {"dataframe_records": [ROW], "params": [1]}),
    ("everything", JSON, {"dataframe_records": [{**ROW, "when": "soon"}]}),
    ("everything", JSON, {"dataframe_records": [{**ROW, "list": 5}]}),
    ("everything", JSON, {"dataframe_records": [{**ROW, "object": {"b": 1}}]}),
    ("everything", JSON, {"dataframe_records": [{**ROW, "large": 10**30}]}),
]


@pytest.fixture(scope="module")
def theirs(saved: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of MLflow's own server of each model."""
    folder = tmp_path_factory.mktemp("servers")
    programs = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    addresses, servers = {}, []
    try:
        for kind in KINDS:
            port = free_port()
            command = [
                programs / "mlflow",
                "models",
                "serve",
                "-m",
                saved[kind],
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
            ]
            with (folder / f"{kind}.log").open("w") as log:
                servers.append(
                    subprocess.Popen(
                        [*command, "--env-manager", "local"],
                        cwd=folder,
                        env=environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            addresses[kind] = f"http://127.0.0.1:{port}"
        for address, server in zip(addresses.values(), servers, strict=True):
            wait_until_alive(f"{address}/ping", server)
        yield addresses
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(timeout=15)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def ours(saved: dict[str, Path], *kinds: str, **extra: Any) -> AsyncIterator[Any]:
    models = [
        ModelSettings(
            name=kind,
            implementation="mlflow",
            parameters={"uri": str(saved[kind]), "extra": extra.get(kind, {})},
        )
        for kind in kinds
    ]
    async with served(models, executor="inline") as found:
        async with httpx.AsyncClient(base_url=found.rest, timeout=SECONDS) as client:
            yield found.kernel, client


def content(body: Any) -> str | bytes:
    return body if isinstance(body, str | bytes) else json.dumps(body)


def _sorted(names: re.Match[str]) -> str:
    return "{" + ", ".join(sorted(names[1].split(", "))) + "}"


def shown(answer: httpx.Response) -> tuple[int, str, Any]:
    """What of an answer must be the same: all but tracebacks, and the order of sets in messages."""
    text = re.sub(r"\{('\w+'(?:, '\w+')*)\}", _sorted, answer.text)
    body = json.loads(text) if answer.headers["content-type"] == JSON else text
    if isinstance(body, dict):
        body.pop("stack_trace", None)
    return answer.status_code, answer.headers["content-type"], body


@pytest.mark.timeout(300)
async def test_the_same_answers_as_mlflows_server(saved: dict[str, Path], theirs: dict[str, str]) -> None:
    async with ours(saved, *KINDS) as (kernel, client), httpx.AsyncClient(timeout=SECONDS) as other:
        assert kernel.problems() == []
        for expected, cases in ((200, GOOD), (None, BAD)):
            for kind, content_type, body in cases:
                headers, sent = {"content-type": content_type}, content(body)
                wanted = await other.post(f"{theirs[kind]}/invocations", content=sent, headers=headers)
                found = await client.post(f"/v2/models/{kind}/invocations", content=sent, headers=headers)
                assert shown(found) == shown(wanted), f"{kind} {content_type} {sent[:200]!r}"
                assert found.status_code == expected or (expected is None and 400 <= found.status_code < 500)
                assert "Traceback" not in found.text
        for path in ("ping", "health", "version"):
            wanted, found = (
                await other.get(f"{theirs['matrix']}/{path}"),
                await client.get(f"/v2/models/matrix/{path}"),
            )
            assert (found.status_code, found.headers["content-type"], found.content) == (
                wanted.status_code,
                wanted.headers["content-type"],
                wanted.content,
            )


async def test_requests_that_break_mlflows_server_are_refused(saved: dict[str, Path]) -> None:
    async with ours(saved, "columns") as (_kernel, client):
        answer = await client.post("/invocations", content="{}")
        assert (answer.status_code, answer.text[:57]) == (
            415,
            "This predictor only supports the following content types:",
        )
        deep = '{"inputs": ' + "[" * 100_000
        answer = await client.post("/invocations", content=deep, headers={"content-type": JSON})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
        good = content({"dataframe_split": SPLIT})
        assert (
            await client.post("/invocations", content=good, headers={"content-type": JSON})
        ).status_code == 200


async def test_the_only_model_has_the_root(saved: dict[str, Path]) -> None:
    async with ours(saved, "columns", "matrix") as (kernel, client):
        answer = await client.get("/version")
        assert (answer.status_code, answer.json()["error"]) == (
            404,
            "Several models offer /version: columns, matrix; ask one of them, at /v2/models/NAME/version.",
        )
        await kernel.unload("columns")
        assert (await client.get("/version")).text == VERSION
        answer = await client.post("/invocations", json={"inputs": VALUES})
        assert answer.json() == {"predictions": [0, 1, 2]}


async def test_a_model_may_claim_the_root_or_leave_it(saved: dict[str, Path]) -> None:
    extra = {"matrix": {"root_paths": True}, "bare": {"root_paths": False}}
    async with ours(saved, "columns", "matrix", "bare", **extra) as (kernel, client):
        answer = await client.post("/invocations", json={"inputs": VALUES})
        assert answer.json() == {"predictions": [0, 1, 2]}
        for kind in ("columns", "matrix", "bare"):
            assert (await client.get(f"/v2/models/{kind}/ping")).content == b"\n"
        await kernel.unload("matrix")
        answer = await client.post("/invocations", json={"dataframe_split": SPLIT})
        assert answer.json() == {"predictions": [0, 1, 2]}
        await kernel.unload("columns")
        assert (await client.get("/ping")).status_code == 404


async def test_two_models_cannot_both_claim_the_root(saved: dict[str, Path]) -> None:
    extra = {"matrix": {"root_paths": True}, "bare": {"root_paths": True}}
    async with ours(saved, "matrix", "bare", **extra) as (kernel, client):
        (problem,) = kernel.problems()
        assert re.search(r"offers (GET|POST) /\w+ at the root of the server, as model", problem)
        assert (await client.get("/ping")).status_code == 200
        with pytest.raises(ModelLoadError):
            await kernel.load("bare" if kernel.handle("matrix").ready else "matrix")
