"""The transport starts and stops: addresses, certificates, draining."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

import mlsrv
import mlsrv_rest.calls
import mlsrv_rest.plugin
import mlsrv_rest.servers.uvicorn
from mlsrv import Kernel
from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.errors import ConfigurationError
from mlsrv_rest.transport import RestTransport

BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2.5]}]}'
ECHO, BLOCKING = "/v2/models/echo/infer", "/v2/models/blocking/infer"


# --- addresses ----------------------------------------------------------------------------------------------


async def test_the_endpoint_shows_the_real_port(serve: Any) -> None:
    async with serve() as served:
        assert served.url.startswith("http://127.0.0.1:")
        assert not served.url.endswith(":0")
        [transport] = served.kernel.transports.values()
        await transport.start()
        assert transport.endpoints == (served.url,), "starting twice changes nothing"


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
async def test_ipv6(serve: Any) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with serve(host="::1") as served:
        assert served.url.startswith("http://[::1]:")
        assert (await served.client.get("/v2/health/live")).status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loopback has one address")
async def test_a_name_is_served_at_each_of_its_addresses(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def found(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "both.test":
            return resolve(host, port, *args, **more)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.1", "127.0.0.2")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    async with serve(host="both.test") as served:
        [url] = served.kernel.transports["rest"].endpoints
        host, _, port = url.removeprefix("http://").partition(":")
        assert host == "both.test"
        async with httpx.AsyncClient() as client:
            for address in ("127.0.0.1", "127.0.0.2"):
                answer = await client.post(f"http://{address}:{port}{ECHO}", content=BODY)
                assert answer.status_code == 200
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", int(port)), timeout=5)


async def test_localhost_is_served_over_both_versions_of_ip(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    resolve = socket.getaddrinfo

    def found(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host not in ("localhost", b"localhost"):
            return resolve(host, port, *args, **more)
        # As machines have it whose file of hosts names both; clients then try ::1 first.
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", int(port or 0), 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port or 0))),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    async with serve(host="localhost") as served:
        [url] = served.kernel.transports["rest"].endpoints
        port = url.rpartition(":")[2]
        assert url == f"http://localhost:{port}"
        async with httpx.AsyncClient() as client:
            for name in ("localhost", "[::1]", "127.0.0.1"):
                answer = await client.post(f"http://{name}:{port}{ECHO}", content=BODY)
                assert answer.status_code == 200


async def test_a_port_in_use_is_one_sentence(serve: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=f"REST cannot listen on 127.0.0.1:{port}: address already in use"
        ):
            async with serve(http_port=port):
                pass


async def test_two_kernels_on_one_port(serve: Any) -> None:
    async with serve() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match="already in use"):
            async with serve(http_port=port):
                pass
        assert (await first.client.get("/v2/health/live")).status_code == 200


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
async def test_an_address_that_is_not_ours(serve: Any, host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"REST cannot listen on {host}:0: "):
        async with serve(host=host):
            pass


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    server = made.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_tls(serve: Any, http_server: str, authority: trustme.CA, tmp_path: Path) -> None:
    async with serve(
        http_tls_cert=str(tmp_path / "cert.pem"), http_tls_key=str(tmp_path / "key.pem")
    ) as served:
        assert served.url.startswith("https://127.0.0.1:")
        async with httpx.AsyncClient(base_url=served.url, verify=trusting(authority), http2=True) as client:
            answer = await client.post(ECHO, content=BODY)
            assert answer.status_code == 200
            assert answer.http_version == ("HTTP/1.1" if http_server == "uvicorn" else "HTTP/2")
        async with httpx.AsyncClient(base_url=served.url) as stranger:
            with pytest.raises(httpx.ConnectError):
                await stranger.get("/v2")


async def test_key_and_certificate_in_one_file(serve: Any, authority: trustme.CA, tmp_path: Path) -> None:
    async with serve(http_tls_cert=str(tmp_path / "both.pem")) as served:
        async with httpx.AsyncClient(base_url=served.url, verify=trusting(authority)) as client:
            assert (await client.get("/v2/health/live")).status_code == 200


async def test_mutual_tls(serve: Any, authority: trustme.CA, tmp_path: Path) -> None:
    settings = {
        name: str(tmp_path / f"{name[9:]}.pem") for name in ("http_tls_cert", "http_tls_key", "http_tls_ca")
    }
    async with serve(**settings) as served:
        known = trusting(authority)
        authority.issue_cert("client@test").configure_cert(known)
        async with httpx.AsyncClient(base_url=served.url, verify=known) as client:
            assert (await client.get("/v2/health/live")).status_code == 200
        async with httpx.AsyncClient(base_url=served.url, verify=trusting(authority)) as unknown:
            with pytest.raises(httpx.TransportError):
                await unknown.get("/v2/health/live")


async def test_new_certificates_are_used_after_a_reload(
    serve: Any, authority: trustme.CA, tmp_path: Path
) -> None:
    settings = {
        name: str(tmp_path / f"{name[9:]}.pem") for name in ("http_tls_cert", "http_tls_key", "http_tls_ca")
    }
    old = trusting(authority)
    authority.issue_cert("client@test").configure_cert(old)
    later = trustme.CA(key_type=trustme.KeyType.RSA)
    new = trusting(later)
    later.issue_cert("client@test").configure_cert(new)
    async with serve(**settings) as served, httpx.AsyncClient(base_url=served.url, verify=old) as client:
        transport = served.kernel.transports["rest"]
        assert (await client.get("/v2/health/live")).status_code == 200
        (tmp_path / "cert.pem").write_text("no certificate")
        with pytest.raises(ConfigurationError, match="http_tls_cert"):
            await transport.reload()
        async with httpx.AsyncClient(base_url=served.url, verify=old) as still:
            assert (await still.get("/v2/health/live")).status_code == 200
        issued = later.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
        issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
        later.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        await transport.reload()
        assert (await client.get("/v2/health/live")).status_code == 200  # its connection goes on
        async with httpx.AsyncClient(base_url=served.url, verify=new, http2=True) as known:
            assert (await known.get("/v2/health/live")).status_code == 200
        async with httpx.AsyncClient(base_url=served.url, verify=old) as stranger:
            with pytest.raises(httpx.TransportError):
                await stranger.get("/v2/health/live")
        # It trusts the server, which does not trust its certificate any more.
        mixed = trusting(later)
        authority.issue_cert("client@test").configure_cert(mixed)
        async with httpx.AsyncClient(base_url=served.url, verify=mixed) as stranger:
            with pytest.raises(httpx.TransportError):
                await stranger.get("/v2/health/live")


@pytest.mark.parametrize("setting", ["http_tls_cert", "http_tls_key", "http_tls_ca"])
async def test_a_file_that_is_missing_is_named(
    serve: Any, authority: trustme.CA, tmp_path: Path, setting: str
) -> None:
    settings = {"http_tls_cert": str(tmp_path / "both.pem"), setting: str(tmp_path / "absent.pem")}
    with pytest.raises(ConfigurationError, match=f"^{setting}: .*absent.pem cannot be read: no such file"):
        async with serve(**settings):
            pass


# --- stopping -----------------------------------------------------------------------------------------------


async def test_stopping_drains_what_is_in_flight(serve: Any) -> None:
    async with serve() as served:
        model = served.blocking_model()
        asking = asyncio.create_task(served.client.post(BLOCKING, content=BODY))
        await asyncio.wait_for(model.started.wait(), 20)
        served.stop.set()
        async with asyncio.timeout(20):
            while True:
                try:
                    wire = await served.wire()
                except ConnectionRefusedError:
                    break
                await wire.close()
        assert not served.serving.done()
        model.go_on.set()
        answer = await asking
        assert answer.status_code == 200
        await served.serving


async def test_stopping_cuts_what_takes_too_long(serve: Any) -> None:
    async with serve(shutdown_timeout=0.3) as served:
        model = served.blocking_model()
        asking = asyncio.create_task(served.client.post(BLOCKING, content=BODY))
        await asyncio.wait_for(model.started.wait(), 20)
        began = time.monotonic()
        served.stop.set()
        await served.serving
        assert time.monotonic() - began > 0.25
        answer = await asking
        assert answer.status_code == 503
        assert "stopping" in answer.json()["error"]
        assert model.cancelled.is_set()


@pytest.mark.parametrize("turns", range(12))
async def test_a_request_that_comes_with_the_stop_is_answered_or_never_begun(serve: Any, turns: int) -> None:
    async with serve() as served:
        wire = await served.wire()
        assert (await wire.post(ECHO, BODY)).status == 200
        served.stop.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        wire.writer.write(
            f"POST {ECHO} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n".encode() + BODY
        )
        try:
            answered = b" 200 " in await wire.ended()
        except ConnectionError:
            answered = False
        await served.serving
        [statistics] = served.kernel.statistics("echo")
        assert statistics["execution_count"] == 1 + answered
        await wire.close()


async def test_stopping_is_quick_with_idle_connections(serve: Any) -> None:
    async with serve(shutdown_timeout=60.0) as served:
        wires = [await served.wire() for _ in range(5)]
        for wire in wires[:4]:
            assert (await wire.post(ECHO, BODY)).status == 200
        await wires[3].send(b"POST /v2/models/echo/infer HTTP/1.1\r\nhost:")
        began = time.monotonic()
        served.stop.set()
        await served.serving
        assert time.monotonic() - began < 15
        for wire in wires:
            await wire.ended()
            await wire.close()


async def test_stopping_does_not_wait_for_a_client_that_does_not_read(serve: Any) -> None:
    count = 2_000_000
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [count], "datatype": "INT8", "data": [1] * count}]}
    ).encode()
    async with serve(shutdown_timeout=0.3) as served:
        wire = await served.wire()
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await wire.send(
            f"POST {ECHO} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode(), body
        )
        await wire.send(
            f"POST {ECHO} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode(), body[:1000]
        )
        await wire.reader.readexactly(100)
        began = time.monotonic()
        served.stop.set()
        await served.serving
        assert time.monotonic() - began < 5
        await wire.close()


async def test_http2_streams_are_drained(serve_http2: Any) -> None:
    async with (
        serve_http2() as served,
        httpx.AsyncClient(base_url=served.url, http1=False, http2=True, timeout=20) as client,
    ):
        model = served.blocking_model()
        asking = asyncio.create_task(client.post(BLOCKING, content=BODY))
        await asyncio.wait_for(model.started.wait(), 20)
        served.stop.set()
        await asyncio.sleep(0)
        model.go_on.set()
        assert (await asking).status_code == 200
        await served.serving


async def test_stopping_twice_and_before_the_start() -> None:
    kernel = Kernel({"http_port": 0, "host": "127.0.0.1"}, plugins=[mlsrv_rest.plugin], discover=False)
    transport = RestTransport(kernel)
    await transport.stop(1)
    await transport.start()
    await transport.stop(1)
    await transport.stop(1)
    assert transport.endpoints == ()
    await transport.start()
    await transport.stop(1)


PROGRAM = """
import asyncio, logging, signal, sys
import mlsrv, mlsrv_rest.plugin

async def main():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    kernel = mlsrv.Kernel({"http_port": 0, "host": "127.0.0.1", "http_server": sys.argv[1]},
                          plugins=[mlsrv_rest.plugin], discover=False)
    async with kernel:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
        up = lambda: print(kernel.transports["rest"].endpoints[0], flush=True)
        await kernel.serve(stop.wait, started=up)
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert not logging.getLogger().handlers
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "hypercorn.error", "hypercorn.access",
    "mlsrv.rest"):
        logger = logging.getLogger(name)
        assert not logger.handlers and logger.propagate and logger.level == logging.NOTSET, name

asyncio.run(main())
"""


def test_signals_logging_and_output_are_left_alone(http_server: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, http_server],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert httpx.get(f"{url}/v2/health/live").status_code == 200
            out, err = process.communicate("stop\n", timeout=30)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
        assert (process.returncode, out, err) == (0, "", "")


class Subjects(Authorizer):
    """Lets everything in, and keeps the subjects of certificates."""

    def __init__(self) -> None:
        self.found: list[str | None] = []

    @mlsrv.hookimpl
    def mlsrv_authorize(self) -> Authorizer:
        return self

    async def authorize(self, access: AccessRequest) -> Principal:
        self.found.append(access.certificate.get("commonName"))
        return Principal("any", {"metadata": ["*"]})


async def test_the_settings_for_every_transport_and_the_subject_of_a_certificate(
    serve: Any, authority: trustme.CA, tmp_path: Path
) -> None:
    files = {name: str(tmp_path / f"{name[4:]}.pem") for name in ("tls_cert", "tls_key", "tls_ca")}
    plugin = Subjects()
    certificate = authority.issue_cert("robot@test", common_name="robot")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "robot.pem"))
    async with serve(plugins=[plugin], **files, tls_minimum_version="1.3") as served:
        assert served.url.startswith("https://")
        context = ssl.create_default_context(cafile=files["tls_ca"])
        context.load_cert_chain(tmp_path / "robot.pem")
        async with httpx.AsyncClient(base_url=served.url, verify=context) as client:
            assert (await client.get("/v2")).status_code == 200
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        async with httpx.AsyncClient(base_url=served.url, verify=context) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/v2")
    assert plugin.found == ["robot"]


async def test_wrong_ciphers(serve: Any, authority: trustme.CA, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tls_ciphers: no cipher is named by 'nonsense'"):
        async with serve(tls_cert=str(tmp_path / "both.pem"), tls_ciphers="nonsense"):
            pass
