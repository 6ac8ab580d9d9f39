"""The command ``mlserver``: its options in the words of ``mlsrv``."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mlsrv
from mlsrv_mlserver.command import parser
from served import served


def translated(*arguments: str, **environ: str) -> list[str]:
    given = parser(environ).parse_args(arguments)
    found: list[str] = given.translate(given)
    return found


def test_commands() -> None:
    assert translated("start", "models") == ["start", "models"]
    assert translated("build", "m", "-t", "a:1", "--no-cache") == ["build", "m", "--tag", "a:1", "--no-cache"]
    assert translated("dockerfile", "m", "-i") == ["dockerfile", "m", "--write", "--force"]
    assert translated("init", "-t", "https://example.com/x") == ["init", "model", "my-model"]


def test_infer_takes_options_and_variables() -> None:
    found = translated(
        "infer", "-m", "iris", "-i", "in.txt", "-w", "3", "-H", "a=b", "-t", "grpc", "-u", "h:8081",
        MLSERVER_INFER_OUTPUT_DATA_PATH="out.txt", MLSERVER_INFER_BATCH_SIZE="7",
    )  # fmt: skip
    assert found[:3] == ["infer", "iris", "in.txt"]
    options = dict(itertools.pairwise(found))
    assert options["--url"] == "grpc://h:8081"
    assert options["--output"] == "out.txt"
    assert (options["--parallel"], options["--batch"], options["--retries"]) == ("3", "7", "3")
    assert options["--header"] == "a: b"


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        translated("infer", "-m", "iris")
    assert caught.value.code == 2
    assert "-i/--input-data-path, -o/--output-data-path" in capsys.readouterr().err


async def test_infer_against_a_server(tmp_path: Path) -> None:
    import asyncio

    request = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [7]}]}
    (tmp_path / "in.txt").write_text(f"{json.dumps(request)}\n" * 3, encoding="utf-8")
    model = mlsrv.ModelSettings(name="echo", implementation="mlsrv.testing.models.EchoModel")
    async with served([model], parallel_workers=0) as found:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mlsrv_mlserver.command", "infer", "-m", "echo", "-u"),
            *(found.rest.removeprefix("http://"), "-i", "in.txt", "-o", "out.txt"),
            cwd=tmp_path,
            stderr=subprocess.PIPE,
        )
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert [line["outputs"][0]["data"] for line in lines] == [[7]] * 3
