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
        "infer", "-m", "iris", "-i", "in.txt", "-w", "3", "-H", "a: b:c", "-t", "grpc", "-u", "h:8081",
        MLSERVER_INFER_OUTPUT_DATA_PATH="out.txt", MLSERVER_INFER_BATCH_SIZE="7",
    )  # fmt: skip
    assert found[:3] == ["infer", "iris", "in.txt"]
    options = dict(itertools.pairwise(found))
    assert options["--url"] == "grpc://h:8081"
    assert options["--output"] == "out.txt"
    assert (options["--parallel"], options["--batch"], options["--retries"]) == ("3", "7", "3")
    assert options["--header"] == "a: b:c"


def test_every_variable_of_infer_that_the_manual_names() -> None:
    values = {
        "URL": "h:1", "MODEL_NAME": "m", "INPUT_DATA_PATH": "i", "OUTPUT_DATA_PATH": "o", "WORKERS": "2",
        "RETRIES": "1", "BATCH_SIZE": "4", "BINARY_DATA": "true", "VERBOSE": "1", "EXTRA_VERBOSE": "0",
        "TRANSPORT": "rest", "REQUEST_HEADERS": "a:b c:d", "CONNECTION_TIMEOUT": "9", "USE_SSL": "yes",
        "BATCH_INTERVAL": "0.5", "BATCH_JITTER": "0.1", "INSECURE": "on",
    }  # fmt: skip
    found = translated("infer", **{f"MLSERVER_INFER_{name}": value for name, value in values.items()})
    assert found[:3] == ["infer", "m", "i"]
    assert "--json" not in found
    assert "--insecure" in found
    assert found[found.index("--url") + 1] == "https://h:1"
    assert [found[at + 1] for at, word in enumerate(found) if word == "--header"] == ["a: b", "c: d"]
    assert found[found.index("--timeout") + 1] == "9"


def test_a_server_with_a_certificate() -> None:
    given = ("infer", "-m", "m", "-i", "i", "-o", "o", "--use-ssl", "--insecure", "-u", "h:1")
    found = translated(*given)
    assert found[found.index("--url") + 1] == "https://h:1"
    assert "--insecure" in found


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
