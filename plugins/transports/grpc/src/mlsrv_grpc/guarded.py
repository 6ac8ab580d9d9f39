"""Guarded calls: the kernel's guard is asked before the first message of a call is read.

Used only where an authorizer is installed. gRPC reads the one message of a unary call before it runs a
handler, and so every guarded handler is one of streams; clients see no difference.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, TypeVar

import grpc
from attrs import frozen

from mlsrv.authorization import AccessRequest, Action, Principal, action_of
from mlsrv.errors import InvalidPayload, Unsupported
from mlsrv.kernel_api import Guard
from mlsrv_grpc.access import host_of
from mlsrv_grpc.handler_wrapping import WrappedHandlers, behaviour_of
from mlsrv_grpc.message_budget import MessageBudget
from mlsrv_grpc.metadata import request_headers
from mlsrv_grpc.status import Rpc, refuse

_T = TypeVar("_T")

_SUBJECT = {"x509_common_name": "commonName", "x509_subject": "subject"}


@frozen
class Admitted:
    """A call that was let in.

    Attributes:
        guard: let it in.
        access: what it asked for.
        principal: who asks.
        headers: of the call, without its credentials.
    """

    guard: Guard
    access: AccessRequest
    principal: Principal
    headers: dict[str, str]


current_admitted: ContextVar[Admitted | None] = ContextVar("mlsrv_grpc_admitted", default=None)
"""The call that is being answered; None without an authorizer."""


def check_model(model: str) -> None:
    """Raise `mlsrv.errors.PermissionDenied` if the principal of the call may not do this to a model."""
    call = current_admitted.get()
    if call is not None:
        call.guard.check(call.access, call.principal, model)


def visible(items: Iterable[_T], name_of: Callable[[_T], str]) -> list[_T]:
    """Return the items about models that the principal of the call may see."""
    call = current_admitted.get()
    if call is None or call.access.action is None:
        return list(items)
    action, principal = call.access.action, call.principal
    return [item for item in items if principal.allows(action, name_of(item))]


class GuardedHandlers(grpc.GenericRpcHandler):
    """Handlers whose calls are guarded. A call of an unknown method is refused once the principal is known.

    Args:
        handlers: the first that has the method of a call gets it.
        actions: of methods by their full name; those of others are marks of their behaviours.
        guard: asked about each call.
        budget: counts the messages of calls that stream no requests.
    """

    def __init__(
        self,
        handlers: Iterable[grpc.GenericRpcHandler],
        actions: Mapping[str, Action | None],
        guard: Guard,
        budget: MessageBudget,
    ) -> None:
        self._handlers = tuple(handlers)
        self._budget = budget
        self._actions = actions
        self._guard = guard
        self._guarded = WrappedHandlers(self._guard_handler)
        self._unknown: Any = grpc.stream_stream_rpc_method_handler(self._refuse_unknown)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the guarded handler of a call that arrives."""
        method = str(handler_call_details.method)
        for source in self._handlers:
            handler: Any = source.service(handler_call_details)
            if handler is None:
                continue
            return self._guarded.wrapped(handler, method)
        return self._unknown

    def _guard_handler(self, handler: Any, method: str) -> Any:
        behaviour = behaviour_of(handler)
        action = self._actions[method] if method in self._actions else action_of(behaviour)
        generates, awaits = inspect.isasyncgenfunction(behaviour), inspect.iscoroutinefunction(behaviour)

        async def answer(requests: AsyncIterable[Any], rpc: Rpc) -> AsyncIterator[Any]:
            await self._admit(rpc, method, action)
            if not generates and not awaits:
                await refuse(rpc, Unsupported(f"{method} runs in a thread, where it cannot be guarded."))
            given = requests if handler.request_streaming else await _only(requests, rpc)
            counted = self._budget.hold(given)  # the router refuses the call if that raises
            try:
                if generates:
                    async with aclosing(behaviour(given, rpc)) as answers:
                        async for one in answers:
                            yield one
                    return
                result = await behaviour(given, rpc)
                if not handler.response_streaming:
                    yield result
            finally:
                self._budget.release(counted)

        return grpc.stream_stream_rpc_method_handler(
            answer,
            handler.request_deserializer,
            handler.response_serializer,
        )

    async def _admit(self, rpc: Rpc, method: str, action: Action | None) -> None:
        headers = request_headers(rpc.invocation_metadata())
        access = AccessRequest(action, headers, None, "grpc", method, host_of(rpc.peer()), _certificate(rpc))
        try:
            principal = await self._guard.admit(access)
        except Exception as error:
            problem = error
        else:
            current_admitted.set(Admitted(self._guard, access, principal, headers))
            return
        await refuse(rpc, problem)

    async def _refuse_unknown(self, requests: AsyncIterable[Any], rpc: Rpc) -> None:
        await self._admit(rpc, "an unknown method", None)
        await rpc.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


async def _only(requests: AsyncIterable[Any], rpc: Rpc) -> Any:
    """Return the one message of a call that streams none."""
    async for request in requests:
        return request
    await refuse(rpc, InvalidPayload("The call ended before its request."))


def _certificate(rpc: Rpc) -> dict[str, str]:
    found = {}
    for key, values in rpc.auth_context().items():
        if key in _SUBJECT:
            found[_SUBJECT[key]] = b"".join(list(values)[:1]).decode("utf-8", "replace")
    return found
