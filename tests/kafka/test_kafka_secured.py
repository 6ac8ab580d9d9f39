"""Brokers that ask who comes, as the settings describe it to the client library."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from sasl import Bearer, Mechanism, Plain, Scram
from secured_broker import SecuredBroker

from brokers import Broker, free_ports, running_broker
from kafka_served import Load, Server, Topics, wait_until
from mlsrv_protocol.client import Client, ConnectionFailed

pytestmark = pytest.mark.timeout(180)
ROW = np.float32([1.5, 2.5])
RIGHT, WRONG = "the-right-one", "another-one"


def _token() -> str:
    """A JSON Web Token, whose signature is for who gives tokens out and for brokers alone."""
    now = int(time.time())
    claims = {"sub": "mlsrv", "iat": now, "exp": now + 3600}
    parts = (json.dumps({"alg": "HS256", "typ": "JWT"}), json.dumps(claims), "signature")
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


TOKEN = _token()


Secured = Callable[[Mechanism | None, dict[str, Any]], tuple[SecuredBroker, Topics]]


@pytest.fixture
def secured_by(tmp_path: Path) -> Iterator[Secured]:
    """Makes a broker behind TLS and a mechanism of SASL, or certificates of clients, with topics."""
    [port] = free_ports(1)
    with running_broker(tmp_path, advertised=port) as broker, contextlib.ExitStack() as stack:
        behind = int(broker.servers.rpartition(":")[2])

        def make(mechanism: Mechanism | None, keys: dict[str, Any]) -> tuple[SecuredBroker, Topics]:
            front = stack.enter_context(SecuredBroker(port, behind, tmp_path, mechanism))
            keys = {**keys, "ssl.ca.location": str(front.authority)}
            topics = Topics(Broker(f"127.0.0.1:{port}", broker.kind, config=keys))
            if mechanism is None:
                keys |= {"security.protocol": "SSL", "ssl.certificate.location": str(front.certificate)}
                keys |= {"ssl.key.location": str(front.key)}
            else:
                keys |= {"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism.name}
            topics.broker.create_topics(topics.input, topics.output, topics.errors, partitions=2)
            return front, topics

        yield make


@pytest.fixture
def secured(secured_by: Secured) -> tuple[SecuredBroker, Topics]:
    """A broker with passwords."""
    return secured_by(Plain("mlsrv", RIGHT), {"sasl.username": "mlsrv", "sasl.password": RIGHT})


def ask(topics: Topics) -> None:
    """Ask the server of the fixture `start` with the client's helper."""
    keys = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in topics.broker.config.items())
    url = f"kafkas://{topics.broker.servers}/{topics.input}/{topics.output}?errors={topics.errors}&{keys}"
    with Client(url, timeout=60) as client:
        assert client.infer("model", {"x": ROW})["x"].tolist() == ROW.tolist()


@pytest.mark.parametrize("mechanism", [Plain("mlsrv", RIGHT), Scram("mlsrv", RIGHT)], ids=["PLAIN", "SCRAM"])
def test_passwords(secured_by: Secured, start: Callable[..., Server], mechanism: Mechanism) -> None:
    front, topics = secured_by(mechanism, {"sasl.username": "mlsrv", "sasl.password": RIGHT})
    server = start(topics, kafka_client=topics.broker.config)
    ask(topics)
    assert front.admitted >= 3  # at least consumer, producer and client
    assert RIGHT not in server.log.read_text()
    server.terminate()


def test_certificates_of_clients(secured_by: Secured, start: Callable[..., Server]) -> None:
    front, topics = secured_by(None, {})
    server = start(topics, kafka_client=topics.broker.config)
    ask(topics)
    assert front.admitted >= 3
    server.terminate()


def test_a_broker_that_goes_and_comes_back(secured_by: Secured, start: Callable[..., Server]) -> None:
    """Its connections end, and none can be made for a while; what it holds stays."""
    front, topics = secured_by(None, {})
    server = start(topics, kafka_client=topics.broker.config, kafka_unready_after=1.0)
    with Load(topics) as load:
        topics.read(topics.output, lambda found: len(found) >= 100)
        front.close()
        wait_until(lambda: not server.is_ready())
        front.open()
        load.wait_for(len(load.ids) + 200)
    load.check_answers()
    wait_until(server.is_ready)
    server.terminate()
    assert topics.committed() == len(load.ids)


def test_tokens(secured_by: Secured, start: Callable[..., Server], token_url: str) -> None:
    """Of OAuth: the client library fetches them for a name and a secret."""
    keys = {
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "mlsrv",
        "sasl.oauthbearer.client.secret": RIGHT,
        "sasl.oauthbearer.token.endpoint.url": token_url,
    }
    front, topics = secured_by(Bearer(TOKEN), keys)
    server = start(topics, kafka_client=topics.broker.config)
    ask(topics)
    assert front.admitted >= 3
    assert RIGHT not in server.log.read_text()
    assert TOKEN not in server.log.read_text()
    server.terminate()


@pytest.fixture
def token_url() -> Iterator[str]:
    """Where tokens are given out to who knows the secret."""
    expected = "Basic " + base64.b64encode(f"mlsrv:{RIGHT}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            is_right = self.headers["authorization"] == expected
            body = json.dumps({"access_token": TOKEN} if is_right else {"error": "invalid_client"}).encode()
            self.send_response(200 if is_right else 401)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    thread.join(20)
    server.server_close()


def test_a_wrong_password(secured: tuple[SecuredBroker, Topics], start: Callable[..., Server]) -> None:
    front, topics = secured
    wrong = topics.broker.config | {"sasl.password": WRONG}
    server = start(topics, kafka_client=wrong, kafka_unready_after=2.0)
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
