"""MLServer's own clients, in MLServer's environment: asked the same of MLServer and of mlsrv."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlserver_folders import truth, write

HERE = Path(__file__).parent
MODELS = ("Batched", "Described", "Endpoint", "Passed", "Streams")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "models"
    write(found, [name for name in truth()["requests"] if name in MODELS], parallel_workers=0)
    return found


def run(home: Path, program: str, *arguments: str, cwd: Path | None = None) -> str:
    """Run a program of MLServer's environment to its good end; return what it printed."""
    done = subprocess.run(
        [str(home / "bin" / program), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def both(
    folder: Path, serve_mlserver: Callable[..., Any], serve_mlsrv: Callable[..., Any]
) -> Callable[[Callable[[dict[str, str]], Any]], tuple[Any, Any]]:
    """Asks both servers, one after the other: what MLServer answered, and what mlsrv did."""

    def ask(question: Callable[[dict[str, str]], Any]) -> tuple[Any, Any]:
        with serve_mlserver(folder) as where:
            theirs = question(where)
        with serve_mlsrv(folder) as where:
            return theirs, question(where)

    return ask


def test_the_stubs_of_grpc(both: Callable[..., tuple[Any, Any]], mlserver_home: Path) -> None:
    def question(where: dict[str, str]) -> Any:
        printed = run(mlserver_home, "python", "-W", "ignore", str(HERE / "client.py"), where["grpc"])
        return json.loads(printed.splitlines()[-1])

    theirs, ours = both(question)
    assert {name for name in theirs if ours.get(name) != theirs[name]} == set(), (theirs, ours)
    assert len(theirs["stream"]) == 3
    assert theirs["unknown"] == "NOT_FOUND"


def test_the_command_infer(both: Callable[..., tuple[Any, Any]], mlserver_home: Path, tmp_path: Path) -> None:
    requests = [
        {"id": str(number), "inputs": [{"name": "x", "shape": [2], "datatype": "INT32", "data": [number, 1]}]}
        for number in range(20)
    ]
    source = tmp_path / "in.txt"
    source.write_text("".join(f"{json.dumps(request)}\n" for request in requests), encoding="utf-8")

    def question(where: dict[str, str]) -> Any:
        out = tmp_path / f"out-{where['http'].rpartition(':')[2]}.txt"
        options = ["-m", "Passed", "-u", where["http"], "-i", str(source), "-o", str(out), "-w", "3"]
        run(mlserver_home, "mlserver", "infer", *options, cwd=tmp_path)
        lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        kept = {line["id"]: (line["model_name"], line["outputs"][0]["data"]) for line in lines}
        return sorted(kept.items())

    theirs, ours = both(question)
    assert ours == theirs
    assert len(ours) == len(requests)
