"""Sockets: closes connections of the server through the operating system, as gRPC for Python cannot."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable
from urllib.parse import unquote

_FOLDERS = ("/proc/self/fd", "/dev/fd")
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
# Names from Linux's headers that Python's socket module lacks.
_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73
_MAX_HOPS = 255


def disconnect(port: int) -> None:
    """Close every connection to a port of this process, and prevent new ones. Written data is still
    delivered.

    Does nothing where the operating system does not list descriptors; new connections are prevented only on
    Linux.
    """
    # Clients reconnect within a millisecond: prevent new connections first.
    _each(port, _descriptors(), _refuse_connections)
    seen: set[str] = set()
    while found := _descriptors() - seen:
        seen |= found
        _each(port, found, _shut_down)


def disconnect_peer(peer: str) -> None:
    """Close the connection to a client.

    Does nothing where the operating system does not list descriptors, and for Unix sockets.

    Args:
        peer: its address as gRPC writes it, ``ipv4:127.0.0.1:50000`` or ``ipv6:%5B::1%5D:50000``.
    """
    kind, _, address = peer.partition(":")
    host, _, port = unquote(address).rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdigit():
        return
    for name in _descriptors():
        found = _open(int(name))
        if found is not None:
            with found:
                try:
                    # An IPv6 socket, which gRPC prefers, has IPv4 addresses in their mapped form.
                    peer_host, peer_port = found.getpeername()[:2]
                    if peer_port == int(port) and peer_host.removeprefix("::ffff:") == host.strip("[]"):
                        found.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it listens, or has ended already


def _each(port: int, descriptors: set[str], do: Callable[[socket.socket], None]) -> None:
    for name in descriptors:
        of_port = _duplicate(int(name), port)
        if of_port is not None:
            with of_port:
                try:
                    do(of_port)
                except OSError:
                    pass  # the connection has ended already, or this Linux has no such option


def _refuse_connections(of_port: socket.socket) -> None:
    # gRPC would log an error if the socket were shut down. With this minimal hop count the kernel drops every
    # packet to it; clients try again when the port is closed.
    if sys.platform == "linux" and _listens(of_port):
        of_port.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, _MAX_HOPS)
        if of_port.family == socket.AF_INET6:
            of_port.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, _MAX_HOPS)


def _shut_down(of_port: socket.socket) -> None:
    if not _listens(of_port):
        of_port.shutdown(socket.SHUT_RDWR)


def _listens(of_port: socket.socket) -> bool:
    return bool(of_port.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _descriptors() -> set[str]:
    for folder in _FOLDERS:
        try:
            return set(os.listdir(folder))
        except OSError:
            continue  # does not exist on this operating system
    return set()


def _duplicate(descriptor: int, port: int) -> socket.socket | None:
    """Return a duplicate of a descriptor's socket if it listens on the port or is connected to it."""
    found = _open(descriptor)
    if found is None or found.getsockname()[1] == port:
        return found
    found.close()
    return None


def _open(descriptor: int) -> socket.socket | None:
    """Return a duplicate of a descriptor's socket if it is one of TCP."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        found = socket.socket(fileno=os.dup(descriptor))
    except OSError:  # the descriptor was closed meanwhile
        return None
    if found.family in _FAMILIES:
        return found
    found.close()
    return None
