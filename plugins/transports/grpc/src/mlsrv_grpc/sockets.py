"""The sockets of a server, as the operating system knows them: gRPC for Python cannot end connections."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable

_FOLDERS = ("/proc/self/fd", "/dev/fd")
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
# Names from Linux's headers that Python's socket module lacks.
_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73
_LONGEST = 255


def disconnect(port: int) -> None:
    """End every connection to a port of this process, and let no more be made. What has been written arrives.

    Nothing happens where the operating system does not list descriptors; new connections are kept out on
    Linux alone.
    """
    # Clients whose connection ends are back within a millisecond.
    _each(port, _descriptors(), _deafen)
    seen: set[str] = set()
    while found := _descriptors() - seen:
        seen |= found
        _each(port, found, _end)


def _each(port: int, descriptors: set[str], do: Callable[[socket.socket], None]) -> None:
    for name in descriptors:
        of_port = _duplicate(int(name), port)
        if of_port is not None:
            with of_port:
                try:
                    do(of_port)
                except OSError:
                    pass  # the connection has ended already, or this Linux has no such option


def _deafen(of_port: socket.socket) -> None:
    # A socket that is shut down instead would have gRPC complain. No packet has so many hops left, and
    # clients try again when the port is closed.
    if sys.platform == "linux" and _listens(of_port):
        of_port.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, _LONGEST)
        if of_port.family == socket.AF_INET6:
            of_port.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, _LONGEST)


def _end(of_port: socket.socket) -> None:
    if not _listens(of_port):
        of_port.shutdown(socket.SHUT_RDWR)


def _listens(of_port: socket.socket) -> bool:
    return bool(of_port.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _descriptors() -> set[str]:
    for folder in _FOLDERS:
        try:
            return set(os.listdir(folder))
        except OSError:
            continue  # of another operating system
    return set()


def _duplicate(descriptor: int, port: int) -> socket.socket | None:
    """The socket behind a descriptor, if it listens on a port of this process or is connected to it."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        found = socket.socket(fileno=os.dup(descriptor))
    except OSError:  # closed meanwhile
        return None
    if found.family in _FAMILIES and found.getsockname()[1] == port:
        return found
    found.close()
    return None
