"""Sockets: listening sockets of transports, and how their addresses are written."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Any

from mlsrv.errors import ConfigurationError

__all__ = ["BACKLOG", "bind", "host_and_port", "unusable", "url"]

BACKLOG = 2048
"""Connections that may wait to be accepted."""

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_PAUSE_SECONDS = 0.5
"""Less than the second after which asyncio accepts again."""


class _ListeningSocket(socket.socket):
    """Raises only the first of many errors about exhausted resources: asyncio would try to accept as many
    connections as may wait, and log each failure."""

    _paused_until = 0.0

    def accept(self) -> tuple[socket.socket, Any]:
        if time.monotonic() < self._paused_until:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        try:
            return super().accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._paused_until = time.monotonic() + _PAUSE_SECONDS
            raise


def bind(host: str, port: int, *, server: str, setting: str) -> socket.socket:
    """Return a TCP socket that listens and does not block.

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
        bound = _ListeningSocket(family, kind, protocol)
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
        raise unusable(host, port, _reason(error), server, setting) from error
    return bound


def unusable(host: str, port: int, reason: str, server: str, setting: str) -> ConfigurationError:
    """Return the error about an address that cannot be used."""
    return ConfigurationError(
        f"{server} cannot listen on {host}:{port}: {reason}; choose another address with host and {setting}."
    )


def url(bound: socket.socket, scheme: str) -> str:
    """Return the URL of a listening socket."""
    host, port = bound.getsockname()[:2]
    return f"{scheme}://{host_and_port(host, port)}"


def host_and_port(host: str, port: int) -> str:
    """Return host and port as in a URL, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    return error.strerror.lower() if error.strerror else str(error)
