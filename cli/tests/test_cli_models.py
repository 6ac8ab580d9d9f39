"""``mlsrv models`` against a real server."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def only_tiny(only_rest: list[str]) -> list[str]:
    """Here it is REST that is the only transport."""
    return only_rest


@pytest.fixture
def url(start, add_model, free_port: int) -> str:
    """A server with the models a (versions 1 and 2) and broken."""
    inputs = [{"name": "x", "datatype": "FP32", "shape": [-1]}]
    for version in ("1", "2"):
        add_model(f"a{version}", name="a", parameters={"version": version}, inputs=inputs)
    add_model("broken", implementation="code_of_it.Nothing")
    start("--http-port", str(free_port)).wait_for("2 of 3 models ready")
    return f"http://127.0.0.1:{free_port}"


def test_models_are_listed_described_unloaded_and_loaded(url: str, mlsrv) -> None:
    listed = mlsrv("models", "list", "--url", url)
    assert listed.returncode == 0, listed.stderr
    lines = listed.stdout.splitlines()
    assert lines[0].split() == ["name", "version", "state", "reason"]
    assert [line.split()[:3] for line in lines[1:3]] == [["a", "1", "READY"], ["a", "2", "READY"]]
    assert "Nothing" in lines[3]
    ready = json.loads(mlsrv("models", "list", "--ready", "--json", "--url", url).stdout)
    assert [(item["name"], item["version"]) for item in ready] == [("a", "1"), ("a", "2")]

    described = mlsrv("models", "describe", "a", "--version", "1", "--url", url).stdout
    assert "FP32" in described
    assert "0 requests answered" in described
    assert json.loads(mlsrv("models", "describe", "a", "--json", "--url", url).stdout)["name"] == "a"

    assert mlsrv("models", "unload", "a", "--url", url).stdout == "Model a is unloaded.\n"
    assert mlsrv("models", "describe", "a", "--url", url).returncode == 1
    assert mlsrv("models", "load", "a", "--url", url).stdout == "Model a is loaded.\n"


def test_failures_are_one_line(url: str, mlsrv, free_ports: list[int]) -> None:
    for arguments, code in (
        (("load", "nope", "--url", url), 1),
        (("load", "broken", "--url", url), 1),
        (("list", "--url", f"http://127.0.0.1:{free_ports[0]}"), 1),
        (("list", "--url", "nonsense"), 2),
        (("describe", "--url", url), 2),
    ):
        done = mlsrv("models", *arguments)
        assert done.returncode == code, done
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
