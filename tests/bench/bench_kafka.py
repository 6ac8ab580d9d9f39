"""Kafka against a bare consume-produce loop: what a record costs over what its transport itself costs.

Run it as a plain script. A broker and, in turns, processes that answer the same records of a topic: a loop
that writes prepared answers, with the same client library and guarantees (an idempotent producer, headers, a
commit up to the oldest answer that is not confirmed); the same loop where it reads each request as JSON and
writes its answer as JSON, which no server can do without; mlsrv with a model that does nothing, mlsrv with
iris, and MLServer where `MLSRV_BENCH_PEERS` names an interpreter that has it (``mlserver=/path/to/python``).
What counts are records per second, and per second of processor time (user and system) of the
process, between the first and the last answers, as the output topic shows them. Rates depend on the machine,
and where its cores have other work, on that: the ratios are those of the same turn, their medians of all.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from bench_default import peers
from compared_models import NOOP, TRAIN_IRIS
from confluent_kafka import Consumer, Producer, TopicPartition

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from brokers import Broker, new_name, running_broker

RECORDS = 20_000
PEER_RECORDS = 5_000
ROUNDS = 3
PARTITIONS = 4
KEYS = 1000
AIM, PEER_AIM = 0.5, 5.0
TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
HEADERS = [("mlserver-model", b"noop"), ("content-type", b"application/json")]

BARE = """
import sys, time
from collections import deque
from functools import partial
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

servers, group, source, target = sys.argv[1:]
prepared = orjson.dumps({"model_name": "noop", "id": "0" * 32, "outputs": [orjson.loads(%(tensor)r)]})
converts = %(converts)r
consumer = Consumer({
    "bootstrap.servers": servers, "group.id": group, "auto.offset.reset": "earliest",
    "enable.auto.commit": False, "session.timeout.ms": 6000,
})
producer = Producer({
    "bootstrap.servers": servers, "enable.idempotence": True, "partitioner": "murmur2_random",
})
consumer.subscribe([source])
unfinished, done, next_commit, asked = {}, {}, 0.0, {}

def delivered(place, offset, error, message):
    assert error is None, error
    waiting, finished = unfinished[place], done[place]
    if waiting[0] != offset:
        finished.add(offset)
        return
    waiting.popleft()
    while waiting and waiting[0] in finished:
        finished.remove(waiting.popleft())

while True:
    for message in consumer.consume(250, 0.1):
        if message.error() is not None:
            continue
        place, offset, headers = (message.topic(), message.partition()), message.offset(), message.headers()
        unfinished.setdefault(place, deque()).append(offset)
        done.setdefault(place, set())
        given = [
            ("content-type", b"application/json"),
            ("x-request-id", message.key()),
            ("mlsrv-model", headers[0][1]),
            ("mlsrv-source", f"{place[0]}/{place[1]}/{offset}".encode()),
        ]
        report = partial(delivered, place, offset)
        answer = prepared
        if converts:
            inputs = orjson.loads(message.value())["inputs"]
            answer = orjson.dumps({"model_name": "noop", "id": message.key().decode(), "outputs": inputs})
        producer.produce(target, answer, message.key(), on_delivery=report, headers=given)
        last = offset
    producer.poll(0)
    now = time.monotonic()
    if now > next_commit:
        next_commit = now + 0.5
        marks = {place: waiting[0] for place, waiting in unfinished.items() if waiting}
        moved = {place: mark for place, mark in marks.items() if asked.get(place) != mark}
        if moved:
            asked.update(moved)
            offsets = [TopicPartition(*place, mark) for place, mark in moved.items()]
            consumer.commit(offsets=offsets, asynchronous=True)
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as broker:
        print(
            f"{RECORDS} records, {PARTITIONS} partitions, {KEYS} keys, medians of {ROUNDS} turns; "
            f"one process each; load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores"
        )
        print(f"{'':16}{'records/s':>12}{'per CPU s':>12}{'us CPU':>9}{'rate':>8}{'CPU':>8}{'aim':>7}")
        started = list(commands())
        turns = [
            {
                name: measure(broker, Path(folder), name, command, PEER_RECORDS if is_peer(name) else RECORDS)
                for name, command in started
            }
            for _ in range(ROUNDS)
        ]
        for name, _ in started:
            rate, per_cpu = (statistics.median(turn[name][part] for turn in turns) for part in (0, 1))
            ratios = [
                statistics.median(turn[name][part] / turn["bare"][part] for turn in turns) for part in (0, 1)
            ]
            aim = f"{AIM:7.2f}" if name == "mlsrv noop" else ""
            print(
                f"{name:16}{rate:12.0f}{per_cpu:12.0f}{1e6 / per_cpu:9.1f}"
                f"{ratios[0]:8.2f}{ratios[1]:8.2f}{aim}",
                flush=True,
            )
        for name in filter(is_peer, turns[0]):
            times = statistics.median(turn["mlsrv noop"][1] / turn[name][1] for turn in turns)
            print(
                f"mlsrv noop answers {times:.1f} times as many per second of CPU as {name} (aim {PEER_AIM:g})"
            )
        print(f"load now {os.getloadavg()[0]:.1f}")
    return 0


def is_peer(name: str) -> bool:
    """Return whether it is another server."""
    return name.startswith("MLServer")


def commands() -> Iterator[tuple[str, Sequence[str]]]:
    """What is measured: its name, and how it is started."""
    for name, converts in (("bare", False), ("bare with JSON", True)):
        yield name, [sys.executable, "-c", BARE % {"tensor": json.dumps(TENSOR), "converts": converts}]
    own = str(Path(sys.executable).parent / "mlsrv")
    yield "mlsrv noop", [own, "start"]
    yield "mlsrv iris", [own, "start"]
    if "mlserver" in peers():
        yield "MLServer noop", [str(Path(peers()["mlserver"]).with_name("mlserver")), "start"]
    else:
        print("(MLSRV_BENCH_PEERS names no mlserver=/path/to/python: MLServer is left out)")


def measure(
    broker: Broker, folder: Path, name: str, command: Sequence[str], count: int
) -> tuple[float, float]:
    """Return records per second, and per second of CPU: from the first to the last of `count` answers, after
    one that showed that the process reads."""
    source, target, group = new_name("in"), new_name("out"), new_name("group")
    broker.create_topics(source, target, partitions=PARTITIONS)
    if name.startswith("bare"):
        arguments = [*command, broker.servers, group, source, target]
    else:
        arguments = [*command, str(models(folder, name, broker, source, target, group))]
    consumer = Consumer({"bootstrap.servers": broker.servers, "group.id": "watch"})
    consumer.assign([TopicPartition(target, number, 0) for number in range(PARTITIONS)])
    try:
        with running(arguments, folder) as process:
            while not consumer.consume(100, 1.0):
                fill(broker, source, PARTITIONS)  # MLServer begins at the end of its topics
            while consumer.consume(100, 2.0):
                pass
            before = used(process)
            fill(broker, source, count)
            times = follow(consumer, count)
            spent = used(process) - before
    finally:
        consumer.close()
    return count / (max(times) - min(times)), count / spent


def follow(consumer: Consumer, count: int) -> list[float]:
    """The times at which answers were written, in seconds."""
    times: list[float] = []
    end = time.monotonic() + 180
    while len(times) < count:
        found = consumer.consume(1000, 0.1)
        times += [message.timestamp()[1] / 1000 for message in found if message.error() is None]
        if time.monotonic() > end:
            raise RuntimeError(f"only {len(times)} of {count} answers came")
    return times


def used(process: psutil.Process) -> float:
    """Seconds of processor time that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def fill(broker: Broker, topic: str, count: int) -> None:
    """Write the requests."""
    producer = Producer({"bootstrap.servers": broker.servers})
    body = json.dumps({"inputs": [TENSOR]}).encode()
    for number in range(count):
        producer.produce(topic, body, b"k%d" % (number % KEYS), headers=HEADERS)  # type: ignore[arg-type]
        producer.poll(0)
    assert producer.flush(60) == 0


def models(folder: Path, name: str, broker: Broker, source: str, target: str, group: str) -> Path:
    """A folder with settings and one model, "noop"."""
    kind = "mlserver" if is_peer(name) else "mlsrv"
    place = folder / new_name("models")
    (place / "noop").mkdir(parents=True)
    settings = {
        "host": "127.0.0.1",
        "http_port": 0,
        "grpc_port": 0,
        "metrics_port": 0,
        "parallel_workers": 0,
        "kafka_enabled": True,
        "kafka_servers": broker.servers,
        "kafka_topic_input": source,
        "kafka_topic_output": target,
    }
    if kind == "mlsrv":
        settings |= {"kafka_group": group, "kafka_consumer": {"session.timeout.ms": 6000}}
    else:
        settings |= {"http_port": 18080, "grpc_port": 18081, "metrics_port": 18082}
    (place / "settings.json").write_text(json.dumps(settings))
    model = {"name": "noop", "implementation": "noop_model.Model"}
    if name.endswith("iris"):
        artifact = place / "noop" / "model.joblib"
        subprocess.run([sys.executable, "-c", TRAIN_IRIS, str(artifact)], check=True)
        model = {"name": "noop", "implementation": "sklearn", "parameters": {"uri": "model.joblib"}}
    else:
        (place / "noop" / "noop_model.py").write_text(NOOP.format(package=kind))
    (place / "noop" / "model-settings.json").write_text(json.dumps(model))
    return place


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path) -> Iterator[psutil.Process]:
    """A process, for as long as the context lasts; its output is shown if it ends before."""
    log = folder / "process.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
    try:
        yield psutil.Process(process.pid)
    except Exception:
        print(log.read_text()[-3000:])
        raise
    finally:
        process.kill()
        process.wait(20)


if __name__ == "__main__":
    sys.exit(main())
