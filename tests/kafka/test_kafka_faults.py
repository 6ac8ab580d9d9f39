"""Nothing is lost and no key is out of order, whatever happens to servers, workers and brokers.

All are processes of their own. Requests are counted where they are written, answers where they are read; an
answer may come twice, and says from which record it is.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from confluent_kafka import Message, Producer

from kafka_served import BODY, Load, Server, Topics, header, wait_until

pytestmark = pytest.mark.timeout(180)

Start = Callable[..., Server]

POISON: dict[str, tuple[bytes | None, dict[str, bytes]]] = {
    "no JSON": (b"junk", {}),
    "empty": (b"", {}),
    "tombstone": (None, {}),
    "not UTF-8": (b"\xff\xfe\x00", {}),
    "no inputs": (b'{"input": []}', {}),
    "wrong shape": (
        b'{"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1.0]}]}',
        {},
    ),
    "deeply nested": (b"[" * 100_000, {}),
    "unknown model": (json.dumps(BODY).encode(), {"mlsrv-model": b"nobody"}),
    "no model": (json.dumps(BODY).encode(), {"mlsrv-model": b""}),
    "unknown method": (json.dumps(BODY).encode(), {"mlsrv-method": b"guess"}),
    "wrong length": (json.dumps(BODY).encode(), {"inference-header-content-length": b"999999"}),
    "model that raises": (json.dumps(BODY).encode(), {"x-request-id": b"fail-1"}),
}


def answered(count: int) -> Callable[[list[Message]], bool]:
    return lambda found: len(found) >= count


def test_ten_thousand_records(topics: Topics, start: Start) -> None:
    load = Load(topics)
    producer = Producer(topics.broker.client(partitioner="murmur2_random"))
    for _ in range(10_000):
        load.write(producer)
        producer.poll(0)
    assert producer.flush(60) == 0
    server = start(topics)
    answers = load.check_answers()
    assert len(answers) == 10_000  # where nothing fails, nothing comes twice
    server.terminate()
    assert topics.committed() == 10_000


def test_the_server_is_killed(topics: Topics, start: Start) -> None:
    first = start(topics, {"parameters": {"extra": {"seconds": 0.01}}})
    with Load(topics) as load:
        topics.read(topics.output, answered(200))
        first.kill()
        load.wait_for(len(load.ids) + 300)
        start(topics)
        load.wait_for(len(load.ids) + 300)
    load.check_answers()


def test_a_worker_is_killed(topics: Topics, start: Start) -> None:
    slow = {"parameters": {"extra": {"seconds": 0.02}}}
    server = start(topics, slow, parallel_workers=2)
    with Load(topics) as load:
        topics.read(topics.output, answered(100))
        for _ in range(2):
            victim = server.workers[0].pid
            os.kill(victim, signal.SIGKILL)
            wait_until(partial(_was_replaced, server, victim))
        load.wait_for(len(load.ids) + 200)
    load.check_answers()


def _was_replaced(server: Server, victim: int) -> bool:
    pids = {one.pid for one in server.workers}
    return len(pids) == 2 and victim not in pids


def test_the_broker_stands_still_and_goes_on(topics: Topics, start: Start) -> None:
    if topics.broker.process is None:
        pytest.skip("the broker was given, and may have other users")
    server = start(topics, kafka_unready_after=2.0)
    with Load(topics) as load:
        topics.read(topics.output, answered(100))
        topics.broker.freeze()
        try:
            time.sleep(8)  # longer than the session of the consumer and than the producer waits
            assert httpx.get(f"{server.url}/v2/health/live").status_code == 200
        finally:
            topics.broker.thaw()
        load.wait_for(len(load.ids) + 200)
    load.check_answers()
    wait_until(server.is_ready)
    server.terminate()


def test_one_server_joins_and_one_leaves(topics: Topics, start: Start) -> None:
    slow = {"parameters": {"extra": {"seconds": 0.005}}}
    first = start(topics, slow)
    with Load(topics) as load:
        topics.read(topics.output, answered(100))
        second = start(topics, slow)
        wait_until(lambda: "Reading" in second.log.read_text())
        load.wait_for(len(load.ids) + 500)
        first.terminate()
        load.wait_for(len(load.ids) + 500)
    answers = load.check_answers()
    pids = {json.loads(message.value() or b"")["outputs"][1]["data"][0] for message in answers}
    assert pids == {first.process.pid, second.process.pid}
    second.terminate()
    assert topics.committed() == len(load.ids)


def test_poison_stops_no_partition(topics: Topics, start: Start) -> None:
    server = start(topics)
    producer = Producer(topics.broker.client(partitioner="murmur2_random"))
    load = Load(topics)
    for name, (value, headers) in POISON.items():
        for _ in range(20):
            load.write(producer)
        given: Any = list({"mlsrv-model": b"model", "x-request-id": name.encode(), **headers}.items())
        producer.produce(topics.input, value, b"poison", headers=given)
    for _ in range(20):
        load.write(producer)
    assert producer.flush(30) == 0
    load.check_answers()
    failed = topics.read(topics.errors, answered(len(POISON)))
    codes = {header(message, "x-request-id"): header(message, "mlsrv-error-code") for message in failed}
    expected = dict.fromkeys(POISON, "INVALID_ARGUMENT")
    expected |= {"unknown model": "NOT_FOUND", "fail-1": "INTERNAL"}
    del expected["model that raises"]
    assert codes == expected
    assert {message.value() for message in failed} == {value for value, _ in POISON.values()}
    assert server.is_ready()
    server.terminate(quiet=False)
    assert topics.committed() == len(load.ids) + len(POISON)


def test_the_output_topic_is_missing(few_topics: Topics, start: Start) -> None:
    server = start(few_topics, kafka_unready_after=5.0)
    with Load(few_topics, pause=0.02) as load:
        wait_until(lambda: "cannot be written" in server.log.read_text() or _is_there(few_topics))
        if _is_there(few_topics):
            pytest.skip(f"the broker ({few_topics.broker.kind}) makes topics that are written to")
        wait_until(lambda: not server.is_ready())
    assert few_topics.committed() == 0
    few_topics.broker.create_topics(few_topics.output, partitions=4)
    load.check_answers()
    wait_until(server.is_ready)
    assert few_topics.read(few_topics.errors, answered(0)) == []


def _is_there(topics: Topics) -> bool:
    return topics.broker.partitions(topics.output) > 0


def test_a_full_queue_waits(topics: Topics, start: Start) -> None:
    """The model takes two requests at a time; 64 are tried."""
    server = start(topics, {"parameters": {"extra": {"seconds": 0.01}}, "max_in_flight": 2})
    load = Load(topics)
    producer = Producer(topics.broker.client(partitioner="murmur2_random"))
    for _ in range(300):
        load.write(producer)
    assert producer.flush(30) == 0
    load.check_answers()
    assert topics.read(topics.errors, answered(0)) == []
    server.terminate()
    assert topics.committed() == 300


def test_sigterm_under_load(topics: Topics, start: Start) -> None:
    slow = {"parameters": {"extra": {"seconds": 0.01}}}
    with Load(topics) as load:
        for _ in range(3):
            server = start(topics, slow)
            before = topics.committed()
            wait_until(lambda: topics.committed() > before)  # noqa: B023  # called at once
            server.terminate()
        start(topics, slow)
        load.wait_for(len(load.ids) + 200)
    answers = load.check_answers()
    assert len(answers) == len(load.ids)  # a stop in peace repeats nothing


@pytest.mark.parametrize("megabytes", [5])
def test_a_large_record(topics: Topics, start: Start, megabytes: int) -> None:
    limit = {"message.max.bytes": 16_000_000}
    server = start(topics, kafka_producer=limit, kafka_consumer={"session.timeout.ms": 6000})
    length = megabytes * 2**20 // 4
    form = {"binary_data_size": 4 * length}
    tensor = {"name": "x", "shape": [length], "datatype": "FP32", "parameters": form}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body = text + os.urandom(4 * length)
    producer = Producer(topics.broker.client() | limit)
    headers: Any = [("mlsrv-model", b"model"), ("inference-header-content-length", b"%d" % len(text))]
    producer.produce(topics.input, body, b"k", headers=headers)
    assert producer.flush(30) == 0
    [answer] = topics.read(topics.output, answered(1))
    size = int(header(answer, "inference-header-content-length") or 0)
    assert (answer.value() or b"")[size : size + 4 * length] == body[len(text) :]
    server.terminate()


def test_an_answer_that_is_too_large_for_the_producer(topics: Topics, start: Start) -> None:
    server = start(topics)
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": ["x" * 1_500_000]}
    text = json.dumps({"inputs": [tensor]}).encode()
    producer = Producer(topics.broker.client(message_max_bytes=16_000_000))
    headers: Any = [("mlsrv-model", b"model")]
    producer.produce(topics.input, text, b"k", headers=headers)
    producer.produce(topics.input, json.dumps(BODY), b"k", headers=headers)
    assert producer.flush(30) == 0
    topics.read(topics.output, answered(1))
    [failed] = topics.read(topics.errors, answered(1))
    assert header(failed, "mlsrv-error-code") == "TOO_LARGE"
    assert header(failed, "mlsrv-value-omitted")
    server.terminate()
