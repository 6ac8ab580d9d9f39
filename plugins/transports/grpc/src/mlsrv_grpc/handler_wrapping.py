"""Handler wrapping: replaces the behaviour of a handler of any kind of call."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

from mlsrv_grpc.status import Rpc

CoroutineBehaviour: TypeAlias = Callable[[Any, Rpc], Awaitable[Any]]
GeneratorBehaviour: TypeAlias = Callable[[Any, Rpc], AsyncIterator[Any]]

_MOST_HANDLERS = 1000
"""Methods whose wrapped handlers are kept: where handlers answer to any name, clients choose how many."""

_KINDS: Final = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def behaviour_of(handler: Any) -> Any:
    """Return the behaviour of a ``grpc.RpcMethodHandler``."""
    return next(behaviour for kind in _KINDS if (behaviour := getattr(handler, kind)) is not None)


def wrap_handler(
    handler: Any,
    coroutine: Callable[[CoroutineBehaviour], CoroutineBehaviour],
    generator: Callable[[GeneratorBehaviour], GeneratorBehaviour | CoroutineBehaviour],
) -> Any:
    """Return the handler with a wrapped behaviour; the handler itself if gRPC runs it in a thread.

    Args:
        handler: a ``grpc.RpcMethodHandler``.
        coroutine: wraps a behaviour that is a coroutine function.
        generator: wraps a behaviour that is an asynchronous generator function.
    """
    for kind in _KINDS:
        behaviour = getattr(handler, kind)
        if inspect.iscoroutinefunction(behaviour):
            return handler._replace(**{kind: coroutine(behaviour)})
        if inspect.isasyncgenfunction(behaviour):
            return handler._replace(**{kind: generator(behaviour)})
    return handler


class WrappedHandlers:
    """Wraps the handler of each method once.

    Args:
        wrap: called with a handler and the full name of its method.
    """

    def __init__(self, wrap: Callable[[Any, str], Any]) -> None:
        self._wrap = wrap
        self._known: dict[str, tuple[Any, Any]] = {}

    def wrapped(self, handler: Any, method: str) -> Any:
        """Return the wrapped handler."""
        known, wrapped = self._known.get(method, (None, None))
        if known is not handler:
            if len(self._known) >= _MOST_HANDLERS:
                self._known.clear()
            wrapped = self._wrap(handler, method)
            self._known[method] = handler, wrapped
        return wrapped
