"""Key sets from an address: a real server with TLS, and all that may be wrong with it."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec

from mlsrv.errors import ConfigurationError, Unauthenticated
from mlsrv_keys import key_sets
from mlsrv_keys.key_file import Key, write_keys

FIRST, SECOND = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

Answer = Callable[[BaseHTTPRequestHandler], None]


def key_set(**keys: ec.EllipticCurvePrivateKey) -> bytes:
    found = [
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": name}
        for name, key in keys.items()
    ]
    return json.dumps({"keys": found}).encode()


def token(kid: str, key: ec.EllipticCurvePrivateKey) -> str:
    claims = {"sub": "ada", "iss": "i", "aud": "a", "exp": time.time() + 300, "mlsrv": ["infer"]}
    return jwt.encode(claims, key, "ES256", headers={"kid": kid})


def replying(body: bytes, status: int = 200, **headers: str) -> Answer:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


class Server:
    """A server of key sets; `answer` is what it does with a request."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.answer: Answer = replying(key_set(first=FIRST))
        self.requests = 0
        self.ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may go away
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}/set"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.ended.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr("mlsrv_keys.authorizer.LOOK_SECONDS", 0.02)
    found = Server(context)
    yield found
    found.close()


def settings(server: Server, **more: Any) -> dict[str, Any]:
    return {"jwt_jwks_url": server.url, "jwt_issuer": "i", "jwt_audience": "a", **more}


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def admitted(ask: Any, text: str) -> None:
    """Wait until a token counts."""
    async with asyncio.timeout(60):
        while True:
            try:
                await ask("infer", text)
                return
            except Unauthenticated:
                await asyncio.sleep(0.02)


async def test_a_new_key_is_fetched_when_a_token_names_it(
    asking: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlsrv_keys.tokens.EARLY_SECONDS", 0.1)
    async with asking(**settings(server)) as ask:
        assert (await ask("infer", token("first", FIRST))).name == "ada"
        server.answer = replying(key_set(second=SECOND))
        await admitted(ask, token("second", SECOND))
        with pytest.raises(Unauthenticated):
            await ask("infer", token("first", FIRST))


async def test_tokens_of_strangers_do_not_make_many_fetches(asking: Any, server: Server) -> None:
    async with asking(**settings(server)) as ask:
        for number in range(50):
            with pytest.raises(Unauthenticated):
                await ask("infer", token(f"unknown{number}", SECOND))
            await asyncio.sleep(0.01)
        assert server.requests == 1


@pytest.mark.parametrize(
    "answer",
    [
        replying(b"<html>down</html>"),
        replying(b"", 503),
        replying(b"[]"),
        replying(b'{"keys": []}'),
        replying(b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}'),
        replying(b" " * (key_sets.LONGEST_SET + 1)),
        replying(b"", 302, location="http://127.0.0.1:9/set"),
        replying(b"", 302, location="/set"),
    ],
    ids=range(8),
)
async def test_wrong_answers_leave_the_keys_that_were_read(
    asking: Any, server: Server, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(**settings(server, jwt_refresh=1)) as ask:
        server.answer = answer
        await until(lambda: "the keys that were read before stay in use" in caplog.text)
        assert (await ask("infer", token("first", FIRST))).name == "ada"
        server.answer = replying(key_set(second=SECOND))
        await admitted(ask, token("second", SECOND))


async def test_an_outage_leaves_the_keys_that_were_read(
    asking: Any, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(**settings(server, jwt_refresh=1)) as ask:
        server.close()
        await until(lambda: "cannot be read" in caplog.text)
        assert (await ask("infer", token("first", FIRST))).name == "ada"


async def test_a_server_that_drips_holds_up_nothing(
    asking: Any,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
        while not server.ended.wait(0.05):
            handler.wfile.write(b"x")

    monkeypatch.setattr(key_sets, "FETCH_SECONDS", 3.0)
    keys = tmp_path / "keys.json"
    key, text = Key.make("robot", {"infer": ("*",)})
    write_keys(keys, {key.id: key})
    async with asking(**settings(server, jwt_refresh=1, keys_file=str(keys))) as ask:
        assert (await ask("infer", text)).name == "robot"
        server.answer = drip
        await until(lambda: server.requests > 1)
        write_keys(keys, {})
        revoked = False
        while "it takes more than 3 s" not in caplog.text:
            try:
                await ask("infer", text)
            except Unauthenticated:
                revoked = True
            await asyncio.sleep(0.02)
        assert revoked
        assert (await ask("infer", token("first", FIRST))).name == "ada"


async def test_a_start_without_a_key_set_fails(asking: Any, server: Server) -> None:
    server.answer = replying(b"", 500)
    with pytest.raises(ConfigurationError, match="jwt_jwks_url"):
        async with asking(**settings(server)):
            pass


async def test_a_server_that_is_not_trusted_is_not_asked(
    asking: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ConfigurationError, match="CERTIFICATE_VERIFY_FAILED"):
        async with asking(**settings(server)):
            pass
    assert server.requests == 0
