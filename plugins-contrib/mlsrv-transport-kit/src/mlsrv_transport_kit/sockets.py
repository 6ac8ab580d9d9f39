"""Sockets: listening sockets of transports, and how their addresses are written."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Any, TypeAlias

from mlsrv.errors import ConfigurationError
from mlsrv_transport_kit.siblings import Siblings

__all__ = ["BACKLOG", "bind", "bind_all", "host_and_port", "shared_port", "unusable", "url"]

BACKLOG = 2048
"""Connections that may wait to be accepted."""

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_NOT_HERE = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
_Address: TypeAlias = tuple[int, int, int, Any]
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


def bind_all(
    host: str, port: int, *, server: str, setting: str, siblings: Siblings | None = None
) -> list[socket.socket]:
    """Return TCP sockets that listen and do not block, on one port: one for each address of the host.

    A name such as ``localhost`` may have an address of IPv4 and one of IPv6, of which clients try either
    first. Addresses that this machine does not have are left out, if it has another one.

    Args:
        siblings: the processes that share the port, if there are any.

    Other args and raises: as `bind`.
    """
    shared = shared_port(host, port, server=server, setting=setting, siblings=siblings)
    port = port if shared is None else shared
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, kind, protocol, address in _addresses(host, port):
            if bound and not port:
                address = (address[0], bound[0].getsockname()[1], *address[2:])
            try:
                bound.append(_listening(family, kind, protocol, address, shared is not None))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = missing or error
        if not bound and missing is not None:
            raise missing
    except OSError as error:
        for each in bound:
            each.close()
        raise unusable(host, port, _reason(error), server, setting) from error
    if siblings is not None and shared == 0:
        siblings.ports[setting] = bound[0].getsockname()[1]
    return bound


def bind(host: str, port: int, *, server: str, setting: str) -> socket.socket:
    """Return a TCP socket that listens on the first address of a host and does not block.

    Args:
        host: a name or an address, IPv4 or IPv6.
        port: 0 takes a free one.
        server: what listens there, for messages, for example ``"REST"``.
        setting: the name of the setting that has the port, for messages.

    Raises:
        ConfigurationError: the address cannot be used; the sentence has it and the reason.
    """
    try:
        return _listening(*_addresses(host, port)[0])
    except OSError as error:
        raise unusable(host, port, _reason(error), server, setting) from error


def shared_port(host: str, port: int, *, server: str, setting: str, siblings: Siblings | None) -> int | None:
    """Return the port that this process is to share with siblings, or None if it has it alone.

    The first of several processes makes sure that it is free: a socket that shares its port would else join
    those of another server of the same user. It notes the port that it gets in place of 0 in
    `Siblings.ports`, where the others find it.

    Args and raises: as `bind`.
    """
    if siblings is None or not siblings.share_ports:
        return None
    if siblings.are_there:
        return siblings.ports.get(setting, port)
    if port:
        for each in bind_all(host, port, server=server, setting=setting):
            each.close()
    return port


def _addresses(host: str, port: int) -> list[_Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(
        dict.fromkeys((family, kind, protocol, address) for family, kind, protocol, _, address in found)
    )


def _listening(family: int, kind: int, protocol: int, address: Any, shared: bool = False) -> socket.socket:
    bound = _ListeningSocket(family, kind, protocol)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                # The address of IPv4 has a socket of its own.
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        bound.setblocking(False)
        bound.bind(address)
        # Not later: two sockets may be bound to one port, but only one may listen.
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def unusable(host: str, port: int, reason: str, server: str, setting: str) -> ConfigurationError:
    """Return the error about an address that cannot be used."""
    return ConfigurationError(
        f"{server} cannot listen on {host}:{port}: {reason}; choose another address with host and {setting}."
    )


def url(bound: socket.socket, scheme: str, name: str | None = None) -> str:
    """Return the URL of a listening socket, with the name of its host if one is given."""
    host, port = bound.getsockname()[:2]
    return f"{scheme}://{host_and_port(name or host, port)}"


def host_and_port(host: str, port: int) -> str:
    """Return host and port as in a URL, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    return error.strerror.lower() if error.strerror else str(error)
