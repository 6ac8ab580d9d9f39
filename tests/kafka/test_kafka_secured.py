"""A broker with TLS and passwords, as the settings describe it to the client library."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from secured_broker import SecuredBroker

from brokers import Broker, free_ports, running_broker
from kafka_served import Server, Topics
from mlsrv_protocol.client import Client, ConnectionFailed

pytestmark = pytest.mark.timeout(180)
ROW = np.float32([1.5, 2.5])
RIGHT, WRONG = "the-right-one", "another-one"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[SecuredBroker, Topics]]:
    """A broker behind TLS and SASL, with topics."""
    [port] = free_ports(1)
    with running_broker(tmp_path, advertised=port) as broker:
        behind = int(broker.servers.rpartition(":")[2])
        with SecuredBroker(port, behind, tmp_path, "mlsrv", RIGHT) as front:
            topics = Topics(Broker(f"127.0.0.1:{port}", broker.kind, config=login(front)))
            topics.broker.create_topics(topics.input, topics.output, topics.errors, partitions=2)
            yield front, topics


def login(front: SecuredBroker, password: str = RIGHT) -> dict[str, Any]:
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "mlsrv",
        "sasl.password": password,
        "ssl.ca.location": str(front.authority),
    }


def test_tls_and_passwords(secured: tuple[SecuredBroker, Topics], start: Callable[..., Server]) -> None:
    front, topics = secured
    server = start(topics, kafka_client=login(front))
    keys = "&".join(f"{name}={value}" for name, value in login(front).items())
    url = f"kafkas://{topics.broker.servers}/{topics.input}/{topics.output}?errors={topics.errors}&{keys}"
    with Client(url, timeout=60) as client:
        assert client.infer("model", {"x": ROW})["x"].tolist() == ROW.tolist()
    assert front.admitted >= 3  # at least consumer, producer and client
    assert RIGHT not in server.log.read_text()
    server.terminate()


def test_a_wrong_password(secured: tuple[SecuredBroker, Topics], start: Callable[..., Server]) -> None:
    front, topics = secured
    server = start(topics, kafka_client=login(front, WRONG), kafka_unready_after=2.0)
    end = time.monotonic() + 60
    while server.is_ready() or not front.refused:
        assert time.monotonic() < end, server.log.read_text()
        time.sleep(0.05)
    assert "SASL authentication error" in server.log.read_text()
    assert WRONG not in server.log.read_text()
    server.terminate()


def test_an_authority_that_is_not_known(secured: tuple[SecuredBroker, Topics]) -> None:
    _, topics = secured
    with (
        Client(f"kafkas://{topics.broker.servers}/a/b?sasl.mechanism=PLAIN", timeout=3) as client,
        pytest.raises(ConnectionFailed, match="cannot be read"),
    ):
        client.infer("model", {"x": ROW})
