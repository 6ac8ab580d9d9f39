"""Listening sockets and TLS."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from mlsrv.errors import ConfigurationError
from mlsrv.listening import BACKLOG, bind, host_and_port, tls_context, url


def test_a_bound_socket_listens_and_has_a_url() -> None:
    with bind("127.0.0.1", 0, server="REST", setting="http_port") as bound:
        host, port = bound.getsockname()
        assert url(bound, "https") == f"https://{host}:{port}"
        assert not bound.getblocking()
        socket.create_connection((host, port), timeout=5).close()


def test_a_port_that_is_in_use() -> None:
    with bind("127.0.0.1", 0, server="REST", setting="http_port") as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            bind("127.0.0.1", port, server="The pigeon", setting="pigeon_port")
    assert str(caught.value) == (
        f"The pigeon cannot listen on 127.0.0.1:{port}: address already in use; "
        "choose another address with host and pigeon_port."
    )


def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on no\.such\.host\.invalid:80: "):
        bind("no.such.host.invalid", 80, server="REST", setting="http_port")


async def test_exhausted_file_descriptors_are_reported_once_and_connections_served_later() -> None:
    loop = asyncio.get_running_loop()
    faults: asyncio.Queue[object] = asyncio.Queue()
    loop.set_exception_handler(lambda _, context: faults.put_nowait(context["exception"]))
    accepted = asyncio.Event()

    class Connection(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.set()

    bound = bind("127.0.0.1", 0, server="REST", setting="http_port")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        client.setblocking(False)
        async with await loop.create_server(Connection, sock=bound, backlog=BACKLOG), asyncio.timeout(20):
            free = os.dup(client.fileno())
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
            try:
                await loop.sock_connect(client, bound.getsockname())
                fault = await faults.get()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert isinstance(fault, OSError)
            assert fault.errno == errno.EMFILE
            await accepted.wait()
    assert faults.empty()


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]:1"), ("127.0.0.1", "127.0.0.1:1")])
def test_addresses_as_in_a_url(host: str, shown: str) -> None:
    assert host_and_port(host, 1) == shown


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with PEM files."""
    from cryptography.hazmat.primitives import serialization

    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    issued, other = authority.issue_cert("localhost"), authority.issue_cert("localhost").private_key_pem
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.write_to_path(str(folder / "other.pem"))
    (folder / "text.pem").write_text("this is no certificate", encoding="utf-8")
    (folder / "locked.pem").write_bytes(
        serialization.load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    return folder


def test_tls_with_a_key_of_its_own_and_in_one_file(files: Path) -> None:
    cert, key, both = (str(files / f"{name}.pem") for name in ("cert", "key", "both"))
    for context in (
        tls_context(cert, key, None, setting="http_tls"),
        tls_context(both, None, None, setting="http_tls"),
    ):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_NONE


def test_clients_show_a_certificate_where_authorities_are_given(files: Path) -> None:
    context = tls_context(str(files / "both.pem"), None, str(files / "ca.pem"), setting="http_tls")
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("cert", "key", "ca", "says"),
    [
        ("absent", None, None, "owl_tls_cert: .*absent.pem cannot be read: no such file"),
        ("cert", "absent", None, "owl_tls_key: .*absent.pem cannot be read: no such file"),
        ("both", None, "absent", "owl_tls_ca: .*absent.pem cannot be read: no such file"),
        ("cert", "other", None, "not a certificate chain and its unencrypted private key.*: .*mismatch"),
        ("cert", None, None, "not a certificate chain and its unencrypted private key"),
        ("text", "key", None, "not a certificate chain and its unencrypted private key"),
        ("cert", "locked", None, "the private key is encrypted"),
        ("both", None, "text", "owl_tls_ca .*text.pem holds no certificates"),
    ],
)
def test_wrong_files_of_tls_are_one_sentence(
    files: Path, cert: str, key: str | None, ca: str | None, says: str
) -> None:
    paths = [str(files / f"{name}.pem") if name else None for name in (cert, key, ca)]
    with pytest.raises(ConfigurationError, match=says) as caught:
        tls_context(str(paths[0]), *paths[1:], setting="owl_tls")
    assert "\n" not in str(caught.value)
