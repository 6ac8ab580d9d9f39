"""The command line together with REST: what most people run."""

from __future__ import annotations

import http.client
import json
import socket
import time

import pytest


@pytest.fixture
def only_tiny(only_rest: list[str]) -> list[str]:
    """Here it is REST that is the only transport."""
    return only_rest


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("server_name", ["combined", "hypercorn", "uvicorn"])
def test_serves_and_stops(start, add_model, free_port: int, server_name: str) -> None:
    add_model("echo")
    server = start("--http-port", str(free_port), "--http-server", server_name)
    server.wait_for(f"rest listens on http://127.0.0.1:{free_port}")
    server.wait_for("1 of 1 models ready")
    assert ask(free_port, "GET", "/v2/health/ready")[0] == 200
    body = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [3]}]})
    status, answer = ask(free_port, "POST", "/v2/models/echo/infer", body)
    assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [3])
    with socket.create_connection(
        ("127.0.0.1", free_port), timeout=10
    ):  # an idle connection is not waited for
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 8  # of the 10 s that requests would get
    assert server.errors == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port), timeout=10)


def test_a_port_in_use(start, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        server = start("--http-port", str(free_port))
        assert server.wait() == 2
    assert server.errors.startswith("Error: ")
    assert str(free_port) in server.errors
    assert len(server.errors.splitlines()) == 1


def test_every_line_is_json_whatever_the_server_logs(start, add_model, free_port: int) -> None:
    add_model("broken", code="from mlsrv.testing import FailingModel as Model\n")
    server = start("--http-port", str(free_port), "--log-format", "json")
    server.wait_for("1 of 1 models ready")
    body = json.dumps({"id": "r1", "inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [3]}]})
    status, answer = ask(free_port, "POST", "/v2/models/broken/infer", body)
    assert status == 500
    assert "Traceback" not in answer
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.lines]
    failed = next(line for line in lines if "exception" in line)
    assert (failed["request_id"], failed["model_name"]) == ("r1", "broken")
    assert "this model always fails" in failed["exception"]
