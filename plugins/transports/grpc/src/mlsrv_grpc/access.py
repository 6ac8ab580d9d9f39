"""Access: the record of one gRPC call for the access log."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from mlsrv.context import CallContext
from mlsrv.kernel_api import Access
from mlsrv_grpc.status import Rpc

_QUIET: Final = ("Live", "Ready", "/Check", "/Watch")


def access_record(method: str, rpc: Rpc, status: str, seconds: float, context: CallContext | None) -> Access:
    """Return the record of a call that is over.

    Args:
        method: full name of the method.
        rpc: the call.
        status: the name of its status code.
        seconds: its duration.
        context: of its first request, if one was decoded.
    """
    return Access("grpc", method, status, seconds, host_of(rpc.peer()), context, method.endswith(_QUIET))


def host_of(peer: str) -> str:
    """Return the address in ``ipv4:127.0.0.1:50000``, ``ipv6:%5B::1%5D:50000`` or ``unix:/path``."""
    kind, _, address = peer.partition(":")
    return address if kind == "unix" else unquote(address.rpartition(":")[0]).strip("[]")
