"""gRPC transport: starting, stopping, addresses and certificates."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

import mlsrv
import mlsrv_prometheus.plugin
from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.errors import ConfigurationError
from mlsrv_protocol.grpc import encode_request
from mlsrv_protocol.types import InferenceRequest

SECONDS = 20
OPTIONS = [("grpc.ssl_target_name_override", "localhost")]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """cert, key, both in one, the authority's."""
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    found = {name: folder / f"{name}.pem" for name in ("cert", "key", "both", "ca")}
    issued.cert_chain_pems[0].write_to_path(str(found["cert"]))
    issued.private_key_pem.write_to_path(str(found["key"]))
    issued.private_key_and_cert_chain_pem.write_to_path(str(found["both"]))
    authority.cert_pem.write_to_path(str(found["ca"]))
    return found


def live(channel: grpc.Channel) -> bytes:
    return bytes(channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=SECONDS))


def until_it_fails(channel: grpc.Channel) -> grpc.StatusCode:
    while True:
        try:
            live(channel)
        except grpc.RpcError as error:
            return error.code()


def test_it_tells_where_it_listens(served: Any) -> None:
    (url,) = served.kernel.transports["grpc"].endpoints
    assert url == f"grpc://{served.target}"
    assert served.target.startswith("127.0.0.1:")
    assert not served.target.endswith(":0")


def test_start_and_stop_may_be_repeated(serve: Any) -> None:
    served = serve([])
    transport = served.kernel.transports["grpc"]
    served.do(transport.start())
    assert live(served.channel) == b"\x08\x01"
    for _ in range(2):
        served.do(transport.stop(1))
    assert transport.endpoints == ()


def test_stopping_without_calls_takes_no_time(serve: Any) -> None:
    served = serve([])
    assert live(served.channel)
    begin = time.monotonic()
    served.stop()
    assert time.monotonic() - begin < 5  # of the 10 seconds that calls would get
    with pytest.raises(grpc.RpcError) as caught:
        live(served.channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_call_in_flight_is_finished(serve: Any, blocking: Any) -> None:
    served = serve()
    body = encode_request(InferenceRequest([], model_name="blocking"))
    call = served.method("ModelInfer").future(body, timeout=SECONDS)
    served.do(blocking.started.acquire())
    served.begin_to_stop()
    with grpc.insecure_channel(served.target) as other:
        assert until_it_fails(other) is grpc.StatusCode.UNAVAILABLE
    served.loop.call_soon_threadsafe(blocking.go_on.set)
    assert call.code() is grpc.StatusCode.OK
    served.stop()


def test_a_call_that_takes_too_long_is_aborted(serve: Any, blocking: Any) -> None:
    served = serve(shutdown_timeout=0.2)
    body = encode_request(InferenceRequest([], model_name="blocking"))
    call = served.method("ModelInfer").future(body, timeout=SECONDS)
    served.do(blocking.started.acquire())
    served.stop()
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert blocking.cancelled.is_set()


def test_a_port_in_use(serve: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            serve([], grpc_port=port)
    assert str(caught.value) == (
        f"gRPC cannot listen on 127.0.0.1:{port}: address already in use; "
        "choose another address with host and grpc_port."
    )
    assert capfd.readouterr().err == ""


def test_a_port_in_use_by_another_grpc_server(serve: Any) -> None:
    port = int(serve([]).target.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: address already in use"):
        serve([], grpc_port=port)


def test_an_address_of_another_machine(serve: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"gRPC cannot listen on 192\.0\.2\.1:0"):
        serve([], host="192.0.2.1")


def test_ipv6(serve: Any) -> None:
    served = serve([], host="::1")
    assert served.kernel.transports["grpc"].endpoints[0].startswith("grpc://[::1]:")
    assert live(served.channel) == b"\x08\x01"


def test_tls(serve: Any, files: dict[str, Path]) -> None:
    trusted = grpc.ssl_channel_credentials(files["ca"].read_bytes())
    served = serve([], trusted, grpc_tls_cert=str(files["cert"]), grpc_tls_key=str(files["key"]))
    assert served.kernel.transports["grpc"].endpoints[0].startswith("grpcs://")
    assert live(served.channel) == b"\x08\x01"
    with grpc.insecure_channel(served.target) as channel, pytest.raises(grpc.RpcError):
        live(channel)


def test_a_transport_in_clear_text_beside_one_with_tls_is_told(
    serve: Any, files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    trusted = grpc.ssl_channel_credentials(files["ca"].read_bytes())
    settings = {"grpc_tls_cert": str(files["both"])}
    serve([], trusted, **settings)
    assert "clear text" not in caplog.text
    serve([], trusted, plugins=[mlsrv_prometheus.plugin], metrics_port=0, **settings)
    [line] = [one.getMessage() for one in caplog.records if "clear text" in one.getMessage()]
    assert line.startswith("TLS is on for grpcs://127.0.0.1:")
    assert "off for http://127.0.0.1:" in line


def test_tls_with_one_file(serve: Any, files: dict[str, Path]) -> None:
    trusted = grpc.ssl_channel_credentials(files["ca"].read_bytes())
    assert live(serve([], trusted, grpc_tls_cert=str(files["both"])).channel) == b"\x08\x01"


def test_mutual_tls(serve: Any, files: dict[str, Path], authority: trustme.CA) -> None:
    mine = authority.issue_cert("client")
    known = grpc.ssl_channel_credentials(
        files["ca"].read_bytes(), mine.private_key_pem.bytes(), mine.cert_chain_pems[0].bytes()
    )
    settings = {"grpc_tls_cert": str(files["both"]), "grpc_tls_ca": str(files["ca"])}
    served = serve([], known, **settings)
    assert live(served.channel) == b"\x08\x01"
    unknown = grpc.ssl_channel_credentials(files["ca"].read_bytes())
    with grpc.secure_channel(served.target, unknown) as channel, pytest.raises(grpc.RpcError) as caught:
        live(channel)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_new_certificates_are_used_after_a_reload(serve: Any, authority: trustme.CA, tmp_path: Path) -> None:
    def client(server: trustme.CA, own: trustme.CA) -> grpc.ChannelCredentials:
        mine = own.issue_cert("client")
        return grpc.ssl_channel_credentials(
            server.cert_pem.bytes(), mine.private_key_pem.bytes(), mine.cert_chain_pems[0].bytes()
        )

    def reached(credentials: grpc.ChannelCredentials) -> bool:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(served.target, credentials, options) as channel:
            try:
                return live(channel) == b"\x08\x01"
            except grpc.RpcError:
                return False

    both, trusted = tmp_path / "both.pem", tmp_path / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(both))
    authority.cert_pem.write_to_path(str(trusted))
    old, later = client(authority, authority), trustme.CA()
    served = serve([], old, grpc_tls_cert=str(both), grpc_tls_ca=str(trusted))
    transport = served.kernel.transports["grpc"]
    assert live(served.channel) == b"\x08\x01"
    content = both.read_text()
    both.write_text("no certificate")
    with pytest.raises(ConfigurationError, match="grpc_tls_cert"):
        asyncio.run(transport.reload())
    both.write_text(content)
    assert reached(old)
    later.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(both))
    later.cert_pem.write_to_path(str(trusted))
    asyncio.run(transport.reload())
    assert reached(client(later, later))
    assert not reached(old)
    assert not reached(client(later, authority))
    assert live(served.channel) == b"\x08\x01"  # its connection goes on


@pytest.mark.parametrize("setting", ["grpc_tls_cert", "grpc_tls_key", "grpc_tls_ca"])
def test_a_file_that_is_missing_is_named(serve: Any, files: dict[str, Path], setting: str) -> None:
    settings = {"grpc_tls_cert": str(files["both"]), setting: "absent.pem"}
    absent = re.escape(str(Path("absent.pem").absolute()))
    with pytest.raises(ConfigurationError, match=f"^{setting}: {absent} cannot be read: no such file"):
        serve([], **settings)


def test_further_options(serve: Any) -> None:
    served = serve(grpc_options={"grpc.max_receive_message_length": 1000})
    with pytest.raises(grpc.RpcError) as caught:
        served.method("ModelInfer")(b"\0" * 2000, timeout=SECONDS)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


class Subjects(Authorizer):
    """Lets everything in, and keeps the subjects of certificates."""

    def __init__(self) -> None:
        self.found: list[str | None] = []

    @mlsrv.hookimpl
    def mlsrv_authorize(self) -> Authorizer:
        return self

    async def authorize(self, access: AccessRequest) -> Principal:
        self.found.append(access.certificate.get("commonName"))
        return Principal("any", {"health": ["*"]})


def test_the_settings_for_every_transport_and_the_subject_of_a_certificate(
    serve: Any, files: dict[str, Path], authority: trustme.CA
) -> None:
    mine = authority.issue_cert("client@test", common_name="robot")
    known = grpc.ssl_channel_credentials(
        files["ca"].read_bytes(), mine.private_key_pem.bytes(), mine.cert_chain_pems[0].bytes()
    )
    plugin = Subjects()
    served = serve([], known, plugins=(plugin,), tls_cert=str(files["both"]), tls_ca=str(files["ca"]))
    assert served.kernel.transports["grpc"].endpoints[0].startswith("grpcs://")
    assert live(served.channel) == b"\x08\x01"
    assert plugin.found == ["robot"]
