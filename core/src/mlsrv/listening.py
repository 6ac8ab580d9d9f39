"""Listening sockets, for transports: what is wrong with an address is told before anything is served."""

from __future__ import annotations

import os
import socket

from mlsrv.errors import ConfigurationError

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def bind(host: str, port: int, *, server: str, setting: str) -> socket.socket:
    """A TCP socket that listens and does not block.

    Args:
        host: a name or an address, IPv4 or IPv6.
        port: 0 takes a free one.
        server: what listens there, for messages, for example ``"REST"``.
        setting: the name of the setting that has the port, for messages.

    Raises:
        ConfigurationError: the address cannot be used; the sentence has it and the reason.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setblocking(False)
            bound.bind(address)
            # Not later: two sockets may be bound to one port, but only one may listen.
            bound.listen(BACKLOG)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise unusable(host, port, (error.strerror or str(error)).lower(), server, setting) from error
    return bound


def unusable(host: str, port: int, reason: str, server: str, setting: str) -> ConfigurationError:
    """The error about an address that cannot be used."""
    return ConfigurationError(
        f"{server} cannot listen on {host}:{port}: {reason}; choose another address with host and {setting}."
    )


def url(bound: socket.socket, scheme: str) -> str:
    """Where a socket is reached."""
    host, port = bound.getsockname()[:2]
    return f"{scheme}://{host_and_port(host, port)}"


def host_and_port(host: str, port: int) -> str:
    """As in a URL: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
