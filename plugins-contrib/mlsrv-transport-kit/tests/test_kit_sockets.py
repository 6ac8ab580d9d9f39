"""Listening sockets, and how their addresses are written."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv_transport_kit.sockets import BACKLOG, bind, bind_all, host_and_port, url


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


Addresses = Callable[..., None]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Addresses:
    """Gives the name both.test some addresses."""
    resolve = socket.getaddrinfo

    def name(*addresses: str) -> None:
        def found(host: str, port: int, *args: Any, **more: Any) -> Any:
            if host != "both.test":
                return resolve(host, port, *args, **more)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", found)

    return name


def ports(bound: list[socket.socket]) -> set[int]:
    return {each.getsockname()[1] for each in bound}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loopback has one address")
def test_each_address_of_a_name_has_a_socket_on_one_port(named: Addresses) -> None:
    named("127.0.0.1", "127.0.0.2", "127.0.0.1")
    bound = bind_all("both.test", 0, server="REST", setting="http_port")
    try:
        assert [each.getsockname()[0] for each in bound] == ["127.0.0.1", "127.0.0.2"]
        assert len(ports(bound)) == 1
        for each in bound:
            socket.create_connection(each.getsockname(), timeout=5).close()
        assert url(bound[0], "http", "localhost") == f"http://localhost:{ports(bound).pop()}"
    finally:
        for each in bound:
            each.close()


def test_addresses_of_other_machines_are_left_out_if_there_is_another_one(named: Addresses) -> None:
    named("192.0.2.1", "127.0.0.1")
    [bound] = bind_all("both.test", 0, server="REST", setting="http_port")
    with bound:
        assert bound.getsockname()[0] == "127.0.0.1"
    named("192.0.2.1")
    with pytest.raises(ConfigurationError, match=r"cannot listen on both\.test:0: "):
        bind_all("both.test", 0, server="REST", setting="http_port")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loopback has one address")
def test_a_port_that_is_in_use_at_one_address_leaves_no_socket(named: Addresses) -> None:
    with bind("127.0.0.2", 0, server="REST", setting="http_port") as taken:
        port = taken.getsockname()[1]
        named("127.0.0.1", "127.0.0.2")
        with pytest.raises(ConfigurationError, match="already in use"):
            bind_all("both.test", port, server="REST", setting="http_port")
    for each in bind_all("both.test", port, server="REST", setting="http_port"):
        each.close()


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
