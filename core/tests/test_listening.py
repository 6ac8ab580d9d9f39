"""Listening sockets."""

from __future__ import annotations

import socket

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv.listening import bind, host_and_port, url


def test_it_listens_at_once_and_says_where() -> None:
    with bind("127.0.0.1", 0, server="REST", setting="http_port") as bound:
        host, port = bound.getsockname()
        assert url(bound, "https") == f"https://{host}:{port}"
        assert not bound.getblocking()
        socket.create_connection((host, port), timeout=5).close()


def test_a_port_that_another_one_has() -> None:
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


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]:1"), ("127.0.0.1", "127.0.0.1:1")])
def test_addresses_as_in_a_url(host: str, shown: str) -> None:
    assert host_and_port(host, 1) == shown
