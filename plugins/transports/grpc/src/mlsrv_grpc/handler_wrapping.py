"""Putting something around handlers, whatever kind of call they answer."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

from mlsrv_grpc.status import Rpc

Answer: TypeAlias = Callable[[Any, Rpc], Awaitable[Any]]
Answers: TypeAlias = Callable[[Any, Rpc], AsyncIterator[Any]]

_KINDS: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def wrapped(
    handler: Any, coroutine: Callable[[Answer], Answer], generator: Callable[[Answers], Answers]
) -> Any:
    """The same handler with another behaviour; the very same one if gRPC runs it in a thread.

    Args:
        handler: a ``grpc.RpcMethodHandler``.
        coroutine: makes the behaviour of one that is a coroutine function.
        generator: makes the behaviour of one that is an asynchronous generator function.
    """
    for kind in _KINDS:
        behaviour = getattr(handler, kind)
        if inspect.iscoroutinefunction(behaviour):
            return handler._replace(**{kind: coroutine(behaviour)})
        if inspect.isasyncgenfunction(behaviour):
            return handler._replace(**{kind: generator(behaviour)})
    return handler
