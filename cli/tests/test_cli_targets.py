"""``mlsrv start`` with an artifact, a folder of artifacts, and Python code, asked over REST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from mlsrv.plugins.offers import RepositoryOffer
from mlsrv_cli.targets import Target, target_of
from mlsrv_testing.contracts.running import eventually

LIMIT = 30.0
CODE = """
import mlsrv


@mlsrv.predictor
def add(x: int, y: int = 1) -> int:
    return x + y


@mlsrv.predictor
def greet(name: str) -> str:
    return f"Hello, {name}!"
"""


@pytest.fixture
def only_tiny(only_rest: list[str]) -> list[str]:
    """Here it is REST that is the only transport."""
    return only_rest


@pytest.fixture
def code(folder: Path) -> Path:
    (folder / "models.py").write_text(CODE)
    return folder / "models.py"


def ask(port: int, model: str, name: str, datatype: str, value: Any) -> Any:
    tensor = {"name": name, "shape": [1], "datatype": datatype, "data": [value]}
    url = f"http://127.0.0.1:{port}/v2/models/{model}/infer"
    answer = httpx.post(url, json={"inputs": [tensor]}, timeout=LIMIT)
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"][0]["data"][0]


def test_a_file_of_functions(start, mlsrv, code: Path, free_port: int) -> None:
    start("--http-port", str(free_port), target=code).wait_for("2 of 2 models ready")
    assert ask(free_port, "add", "x", "INT64", 41) == 42
    assert ask(free_port, "greet", "name", "BYTES", "Ada") == "Hello, Ada!"
    listed = mlsrv("models", "list", "--url", f"http://127.0.0.1:{free_port}").stdout
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["add", "greet"]


def test_one_function_of_a_file(start, code: Path, free_port: int) -> None:
    start("--http-port", str(free_port), target=f"{code}:greet").wait_for("1 of 1 models ready")
    assert ask(free_port, "greet", "name", "BYTES", "Bob") == "Hello, Bob!"


async def test_reload_swaps_the_code(start, code: Path, free_port: int) -> None:
    server = start("--http-port", str(free_port), "--reload", target=code)
    server.wait_for("2 of 2 models ready")
    code.write_text(CODE.replace("Hello", "Good day"))

    def answered() -> bool:
        return bool(ask(free_port, "greet", "name", "BYTES", "Ada") == "Good day, Ada!")

    await eventually("the new answer", answered)
    code.write_text("def broken(:")
    server.wait_for("is no Python code")
    assert answered()


def test_an_artifact_that_cannot_be_read_ends_the_start(start, folder: Path, free_port: int) -> None:
    (folder / "churn.joblib").write_bytes(b"no artifact")
    server = start("--http-port", str(free_port), target=folder / "churn.joblib")
    assert server.wait() == 1
    assert "churn.joblib cannot be read" in server.errors  # by the runtime that was found


def test_a_runtime_that_is_not_installed_is_named(mlsrv, folder: Path) -> None:
    (folder / "churn.onnx").write_bytes(b"x")
    done = mlsrv("config", "check", folder / "churn.onnx", "--block", "onnx")
    assert done.returncode == 2
    assert "pip install mlsrv-onnx" in done.stderr


def test_a_folder_of_artifacts(mlsrv, folder: Path) -> None:
    for name in ("a.joblib", "b.joblib", "README.md"):
        (folder / name).write_bytes(b"x")
    done = mlsrv("config", "check", folder)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()[1:3]] == [
        ["a", "-", "sklearn"],
        ["b", "-", "sklearn"],
    ]


def test_the_settings_beside_a_file_count(mlsrv, code: Path) -> None:
    (code.parent / "settings.json").write_text('{"http_port": 9000}')
    done = mlsrv("config", "show", code)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("http_port")]
    assert line.split()[:2] == ["http_port", "9000"]


def test_what_is_not_there(mlsrv, folder: Path) -> None:
    for name in ("missing.joblib", "missing.py:Model", "missing"):
        done = mlsrv("start", folder / name)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: There is no file or folder")
        assert len(done.stderr.splitlines()) == 1


def test_a_folder_is_served_by_the_repository_that_is_preferred(folder: Path) -> None:
    (folder / "a.joblib").write_bytes(b"x")
    files, artifacts = RepositoryOffer("files", "a:B", priority=1), RepositoryOffer("artifacts", "a:C")
    other = RepositoryOffer("other", "a:D", priority=2)
    target = target_of(folder)
    assert target == Target(folder, folder)
    assert target.values([files, artifacts], False)["model_repository_implementation"] == "artifacts"
    for offers, described in (([files, artifacts, other], False), ([files, artifacts], True)):
        assert "model_repository_implementation" not in target.values(offers, described)
    (folder / "model-settings.json").write_text("{}")
    assert "model_repository_implementation" not in target.values([files, artifacts], False)
