"""Without control: refuses the calls that belong to the admin port, those of plugins included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import grpc

from mlsrv.authorization import action_of, requires
from mlsrv.errors import PermissionDenied
from mlsrv_grpc.handler_wrapping import WrappedHandlers, behaviour_of
from mlsrv_grpc.status import Rpc, refuse

_CONTROL: Final = ("repository", "admin")


class WithoutControl(grpc.GenericRpcHandler):
    """Handlers of which those for control refuse each call, before its first message is read.

    Args:
        handlers: the first that has the method of a call gets it.
    """

    def __init__(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._handlers = tuple(handlers)
        self._checked = WrappedHandlers(_checked)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call that arrives, or None."""
        for source in self._handlers:
            handler: Any = source.service(handler_call_details)
            if handler is not None:
                return self._checked.wrapped(handler, str(handler_call_details.method))
        return None


def _checked(handler: Any, method: str) -> Any:
    action = action_of(behaviour_of(handler))
    if action not in _CONTROL:
        return handler

    @requires(action)
    async def refused(requests: Any, rpc: Rpc) -> AsyncIterator[Any]:
        await refuse(
            rpc, PermissionDenied("Control calls are taken at the admin address of this server only.")
        )
        yield  # type: ignore[unreachable]  # it makes this an asynchronous generator, as gRPC wants it

    return grpc.stream_stream_rpc_method_handler(refused)
