"""Listening sockets, and how their addresses are written."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv_transport_kit.sockets import BACKLOG, bind, host_and_port, url


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
