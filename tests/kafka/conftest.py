"""A real broker, topics for each test, and servers as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brokers import Broker, free_ports, running_broker
from kafka_served import SECONDS, Server, Topics

MODEL = Path(__file__).parent / "model"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as found:
        yield found


@pytest.fixture
def topics(broker: Broker) -> Topics:
    """Three new topics of four partitions."""
    made = Topics(broker)
    broker.create_topics(made.input, made.output, made.errors, partitions=4)
    return made


@pytest.fixture
def few_topics(broker: Broker) -> Topics:
    """The same without an output topic."""
    made = Topics(broker)
    broker.create_topics(made.input, made.errors, partitions=4)
    return made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers with one `Steady` model, "model"; `code` has more files of its folder, and keywords are
    settings."""
    started: list[Server] = []

    def run(
        topics: Topics,
        model: dict[str, Any] | None = None,
        code: dict[str, str] | None = None,
        **settings: Any,
    ) -> Server:
        folder = tmp_path / f"server-{len(started)}"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "models.py").write_text((MODEL / "models.py").read_text())
        for name, text in (code or {}).items():
            (folder / "model" / name).write_text(text)
        fields = {"name": "model", "implementation": "models.Steady"} | (model or {})
        (folder / "model" / "model-settings.json").write_text(json.dumps(fields))
        [port] = free_ports(1)
        values = {"host": "127.0.0.1", "http_port": port, "grpc_port": 0, "metrics_port": 0}
        values |= {"parallel_workers": 0} | topics.settings() | settings
        (folder / "settings.json").write_text(json.dumps(values))
        log = folder / "log"
        command = [str(Path(sys.executable).parent / "mlsrv"), "start", str(folder)]
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, text=True, cwd=folder)
        server = Server(process, f"http://127.0.0.1:{port}", log)
        started.append(server)
        end = time.monotonic() + SECONDS
        while not server.is_ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        return server

    yield run
    for server in started:
        if server.process.poll() is None:
            server.kill()
