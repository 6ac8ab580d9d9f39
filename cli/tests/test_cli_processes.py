"""Several processes that serve as one: over real sockets, with real signals."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

LIMIT = 60.0
ECHO = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [3]}]})
TELLS_PID = """
import os
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Model(MLModel):
    async def predict(self, request):
        output = ResponseOutput(name="pid", shape=[1], datatype="INT64", data=[os.getpid()])
        return InferenceResponse(model_name=self.name, outputs=[output])
"""


@pytest.fixture
def only_tiny() -> list[str]:
    """Here REST, gRPC and the metrics are served."""
    return ["--host", "127.0.0.1", *(f"--block={name}" for name in ("kafka", "mlserver", "workers"))]


class Group:
    """A server of several processes and its clients."""

    def __init__(self, server: Any, ports: list[int]) -> None:
        self.server = server
        self.http, self.grpc, self.metrics_port = ports

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.server.process.pid).children()]

    def ask(self, method: str, path: str, body: str | None = None, port: int | None = None) -> Any:
        """Status and answer, over a new connection, which any of the processes takes."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.http, timeout=LIMIT)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, json.loads(text) if text.startswith(("{", "[")) else text
        finally:
            connection.close()

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end, f"it did not come: {self.server.lines}"
            time.sleep(0.05)

    def wait_ready(self, count: int = 2) -> None:
        """Wait until as many processes answer, and every one is ready."""

        def ready() -> bool:
            try:
                return self.ask("GET", "/v2/health/ready")[0] == 200 and len(self.serving()) == count
            except OSError:
                return False

        self.wait(ready)

    def serving(self) -> set[int]:
        """The processes that listen on the port of REST."""
        found = set()
        for pid in self.pids:
            try:
                connections = psutil.Process(pid).net_connections("tcp")
            except psutil.Error:
                continue
            if any(one.status == "LISTEN" and one.laddr.port == self.http for one in connections):
                found.add(pid)
        return found

    def infer(self, model: str = "echo") -> tuple[int, Any]:
        return self.ask("POST", f"/v2/models/{model}/infer", ECHO)

    def metric(self, name: str) -> float:
        _, text = self.ask("GET", "/metrics", port=self.metrics_port)
        return float(next(line for line in text.splitlines() if line.startswith(name)).rpartition(" ")[2])

    def answering(self, model: str) -> set[int]:
        """The processes that answer a model's requests, found by many connections."""
        found = set()
        for _ in range(60):
            status, answer = self.infer(model)
            assert status == 200, answer
            found.add(answer["outputs"][0]["data"][0])
        return found


@pytest.fixture
def group(start: Callable[..., Any], free_ports: list[int]) -> Callable[..., Group]:
    """Starts two processes and waits until they serve."""

    def make(*options: str, ready: bool = True) -> Group:
        ports = dict(zip(("--http-port", "--grpc-port", "--metrics-port"), map(str, free_ports), strict=True))
        given = [word for pair in ports.items() for word in pair]
        made = Group(start("--processes=2", *given, *options), free_ports)
        if ready:
            made.wait_ready()
        return made

    return make


@pytest.fixture
def with_models(add_model: Callable[..., Path]) -> None:
    add_model("echo")
    add_model("pid", TELLS_PID)


@pytest.mark.usefixtures("with_models")
def test_two_processes_serve_as_one(group: Callable[..., Group]) -> None:
    two = group()
    assert two.answering("pid") == set(two.pids)
    for _ in range(20):
        assert two.infer()[0] == 200
    _, stats = two.ask("GET", "/v2/models/echo/stats")
    assert stats["model_stats"][0]["inference_count"] == 20
    assert two.metric('model_infer_request_success_total{model="echo"') == 20
    assert two.metric('mlsrv_model_ready{model_name="echo"') == 1
    assert two.server.stop(signal.SIGTERM) == 0
    assert two.server.lines[-1].endswith("Stopped")
    ready = [line for line in two.server.lines if "Model echo is READY" in line]
    assert {line.rpartition(" (")[2] for line in ready} == {"process 1)", "process 2)"}
    assert sum("listens on http" in line for line in two.server.lines) == 2  # REST and the metrics, once
    assert two.server.errors == ""


@pytest.mark.usefixtures("with_models")
def test_control_reaches_all(group: Callable[..., Group], folder: Path, add_model: Any) -> None:
    two = group()
    assert two.ask("POST", "/v2/repository/models/echo/unload")[0] == 200
    for _ in range(20):
        assert two.infer()[0] in (404, 503)
        assert two.ask("GET", "/v2/models/echo/ready")[0] in (404, 503)
    assert two.ask("POST", "/v2/repository/models/echo/load")[0] == 200
    for _ in range(20):
        assert two.infer()[0] == 200
        assert two.ask("GET", "/v2/models/echo/ready")[0] == 200
    add_model("later", TELLS_PID)
    assert two.ask("POST", "/v2/repository/models/later/load")[0] == 200
    assert two.answering("later") == set(two.pids)
    _, index = two.ask("POST", "/v2/repository/index", "{}")
    assert [(item["name"], item["state"]) for item in index] == [
        ("echo", "READY"),
        ("later", "READY"),
        ("pid", "READY"),
    ]
    status, answer = two.ask("POST", "/v2/repository/models/unknown/load")
    assert (status, answer["error"]) == (404, "Model unknown not found")
    (folder / "pid" / "code_of_it.py").write_text("1 / 0\n")
    status, answer = two.ask("POST", "/v2/repository/models/pid/load")
    assert status == 500
    assert "ZeroDivisionError" in answer["error"]
    assert two.answering("pid") == set(two.pids)  # the version before goes on, in both


@pytest.mark.usefixtures("with_models")
def test_over_grpc(group: Callable[..., Group]) -> None:
    from mlsrv_protocol.client import Client

    two = group()
    answers = 0
    for _ in range(10):
        with Client(f"grpc://127.0.0.1:{two.grpc}") as client:
            assert client.ready()
            client.infer("echo", {"x": np.array([3])})
            answers += 1
            counted = client.statistics("echo")[0]["inference_count"]
            assert int(counted) == answers


@pytest.mark.usefixtures("with_models")
def test_a_killed_process_is_replaced_under_load(group: Callable[..., Group]) -> None:
    two = group()
    victim, other = two.pids
    two.infer()
    two.ask("POST", "/v2/repository/models/echo/unload")
    done = threading.Event()
    statuses: list[int] = []
    broken: list[float] = []
    killed_at = [float("inf")]

    def hammer() -> None:
        while not done.is_set():
            try:
                statuses.append(two.infer("pid")[0])
            except (OSError, http.client.HTTPException):
                broken.append(time.monotonic())

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        two.wait(lambda: len(statuses) > 100)
        before = two.metric('model_infer_request_success_total{model="pid"')
        killed_at[0] = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        two.server.wait_for("was killed by SIGKILL; it is replaced")
        assert two.metric('model_infer_request_success_total{model="pid"') >= before
        two.wait_ready()
    finally:
        done.set()
        for thread in threads:
            thread.join(LIMIT)
    assert set(statuses) == {200}
    # Only what the killed process had taken broke: one request of each client at most, and at that moment.
    assert len(broken) <= len(threads)
    assert all(0 <= at - killed_at[0] < LIMIT for at in broken)
    assert victim not in two.pids
    assert other in two.pids
    assert two.answering("pid") == set(two.pids)
    for _ in range(20):
        assert two.infer("echo")[0] in (404, 503)  # it is as unloaded in the new process as in the other one
    assert two.metric('model_infer_request_success_total{model="pid"') >= before
    assert two.server.stop() == 0


@pytest.mark.usefixtures("with_models")
def test_the_server_is_not_ready_while_a_process_is_missing(group: Callable[..., Group]) -> None:
    two = group()
    os.kill(two.pids[1], signal.SIGKILL)
    two.server.wait_for("it is replaced")
    status, answer = two.ask("GET", "/v2/health/ready")
    assert (status, answer["error"]) == (
        503,
        "Process 2: It was killed by SIGKILL and is being replaced.",
    )
    two.wait_ready()


@pytest.mark.usefixtures("with_models")
def test_processes_are_replaced_one_at_a_time(group: Callable[..., Group]) -> None:
    two = group()
    before = set(two.pids)
    two.server.send(signal.SIGUSR2)
    answered = reset = 0
    while not any("All 2 processes were replaced" in line for line in two.server.lines):
        try:
            status, answer = two.infer()
        except ConnectionError:  # it waited in the queue of a process that closed its port
            reset += 1
            continue
        assert status == 200, answer
        answered += 1
    assert answered
    assert reset <= 2
    assert not before & set(two.pids)
    assert two.answering("pid") == set(two.pids)
    assert len(two.pids) == 2


@pytest.mark.usefixtures("with_models")
def test_a_reload_of_certificates_reaches_all(group: Callable[..., Group]) -> None:
    two = group()
    two.server.send(signal.SIGHUP)
    for number in (1, 2):
        two.server.wait_for(f"rest has read its files again (process {number})")


@pytest.mark.usefixtures("with_models")
def test_processes_end_with_a_killed_supervisor(group: Callable[..., Group]) -> None:
    two = group()
    children = [psutil.Process(pid) for pid in two.pids]
    two.server.process.kill()
    gone, alive = psutil.wait_procs(children, timeout=LIMIT)
    assert not alive
    assert len(gone) == 2


@pytest.mark.usefixtures("with_models")
def test_a_second_signal_ends_all_at_once(group: Callable[..., Group], add_model: Any) -> None:
    two = group("--shutdown-delay=50")
    children = [psutil.Process(pid) for pid in two.pids]
    two.server.send(signal.SIGTERM)
    two.wait(lambda: two.ask("GET", "/v2/health/ready")[0] == 503)
    two.server.send(signal.SIGTERM)
    assert two.server.wait() == 128 + signal.SIGTERM
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


@pytest.mark.usefixtures("with_models")
def test_a_process_that_is_asked_to_end_is_replaced(group: Callable[..., Group]) -> None:
    two = group()
    os.kill(two.pids[0], signal.SIGTERM)
    two.server.wait_for("ended with exit code 0; it is replaced")
    two.wait_ready()
    assert two.server.stop() == 0


@pytest.fixture
def taken_port(free_port: int) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", free_port)):
        yield free_port


@pytest.mark.parametrize("option", ["--http-port", "--grpc-port", "--metrics-port"])
def test_a_port_that_is_taken(group: Callable[..., Group], taken_port: int, option: str) -> None:
    two = group(option, str(taken_port), ready=False)
    assert two.server.wait() == 2
    assert two.server.errors.startswith("Error: ")
    assert str(taken_port) in two.server.errors
    assert len(two.server.errors.splitlines()) == 1


@pytest.mark.usefixtures("with_models")
def test_another_server_of_several_processes_has_the_port(group: Callable[..., Group]) -> None:
    group()
    second = group(ready=False)
    assert second.server.wait() == 2
    assert "address already in use" in second.server.errors
    assert len(second.server.errors.splitlines()) == 1


@pytest.mark.usefixtures("with_models")
def test_processes_share_ports_that_the_system_chose(group: Callable[..., Group]) -> None:
    two = group("--http-port=0", "--grpc-port=0", "--metrics-port=0", ready=False)
    for name in ("http", "grpc", "metrics_port"):
        who = {"http": "rest", "grpc": "grpc", "metrics_port": "prometheus"}[name]
        found = re.search(r"//127\.0\.0\.1:(\d+)", two.server.wait_for(f"{who} listens on"))
        assert found is not None
        setattr(two, name, int(found[1]))
    two.wait_ready()
    assert two.answering("pid") == set(two.pids)
    os.kill(two.pids[0], signal.SIGKILL)
    two.server.wait_for("it is replaced")
    two.wait_ready()
    assert two.answering("pid") == set(two.pids)
    ports = (two.http, two.grpc, two.metrics_port)
    for pid in two.pids:
        connections = psutil.Process(pid).net_connections("tcp")
        listening = {one.laddr.port for one in connections if one.status == "LISTEN"}
        assert listening == set(ports)


def test_without_its_own_plugin_it_is_one_process(start: Callable[..., Any]) -> None:
    server = start("--block=cli", "--http-port=0", "--grpc-port=0", "--metrics-port=0")
    server.wait_for("rest listens on")
    assert not psutil.Process(server.process.pid).children()
    assert server.stop() == 0


def test_no_process_at_all(start: Callable[..., Any]) -> None:
    server = start("--processes=0")
    assert server.wait() == 2
    assert "processes" in server.errors
    assert len(server.errors.splitlines()) == 1


def test_models_that_fail_end_the_start_where_that_is_wished(
    group: Callable[..., Group], add_model: Callable[..., Path]
) -> None:
    add_model("broken", "1 / 0\n")
    two = group("--on-load-failure=exit", ready=False)
    assert two.server.wait() == 1
    assert "ZeroDivisionError" in two.server.errors
