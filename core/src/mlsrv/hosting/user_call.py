"""User call: runs code of a model on the loop or in a thread, with its context variables and call scope."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextvars import Token
from types import TracebackType
from typing import Any, Protocol

from attrs import define

from mlsrv.context import Asker, CallContext, current_context
from mlsrv.errors import MLSrvError, ModelFailed
from mlsrv.hosting.call_scope import CallScope, CallScopes
from mlsrv.hosting.fault import is_of_model, is_shutdown
from mlsrv_hosting_kit import forks
from mlsrv_hosting_kit.code_importer import CodeImporter
from mlsrv_hosting_kit.pickle_aliases import current_code
from mlsrv_hosting_kit.threads import Threads, run_in_own_thread
from mlsrv_hosting_kit.timeline import Stopwatch, current_stopwatch
from mlsrv_telemetry_kit.metrics import ModelMetrics, current_metrics


class SyncCalls(Protocol):
    """Chooses where the calls of a synchronous ``predict`` run."""

    def __call__(
        self, function: Callable[[Any], Any], in_thread: Callable[..., Awaitable[Any]], name: str
    ) -> Callable[[Any], Awaitable[Any]]:
        """Return the function in a form to be awaited.

        Args:
            function: takes one argument.
            in_thread: calls a function in a thread, with the arguments behind it.
            name: of the model.
        """


@define(eq=False)
class UserCode:
    """The code of one model.

    Attributes:
        name, version: the model's, for messages.
        metrics: those that the code may record.
        asker: takes its questions to other models, where the contexts of calls have none.
        modules: the modules of its folder, if it comes from one.
        scopes: what plugins put around each call, if any does.
    """

    name: str
    version: str | None
    metrics: ModelMetrics
    asker: Asker | None = None
    modules: CodeImporter | None = None
    scopes: CallScopes | None = None


class UserCodeCall:
    """Context manager around a call of user code, or a step of a stream: sets context variables, enters the
    contexts of plugins, and translates exceptions.

    Args:
        code: what is called.
        context: of the request.
        around: of the whole stream, where this is a step of one.

    Raises:
        ModelFailed: the code raised something that is no `MLSrvError`, or one that is the model's own fault.
    """

    __slots__ = (
        "_around",
        "_call",
        "_code",
        "_context",
        "_forks",
        "_is_step",
        "_metrics",
        "_modules",
        "_stopwatch",
    )

    def __init__(self, code: UserCode, context: CallContext, around: CallScope | None = None) -> None:
        self._code = code
        self._context = context
        self._around = around
        self._is_step = around is not None

    def __enter__(self) -> None:
        code = self._code
        self._forks = forks.forks
        self._metrics = current_metrics.set(code.metrics)
        if code.asker is not None:
            self._context.asker = code.asker
        self._call = current_context.set(self._context)
        # Setting a variable is costly; most models have no modules, nor are they called by one that has some.
        self._modules = None if current_code.get() is code.modules else current_code.set(code.modules)
        timeline = self._context.timeline
        self._stopwatch: Token[Stopwatch | None] | None = None
        if timeline is not None or current_stopwatch.get() is not None:
            self._stopwatch = current_stopwatch.set(None if timeline is None else Stopwatch(timeline))
        if self._around is None and code.scopes is not None:
            self._around = code.scopes.call(self._context)
        if self._around is not None:
            self._around.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._forks != forks.forks:
            forks.end_if_forked(self._forks)
        if self._around is not None:
            self._around.leave(kind, error, trace)
            if not self._is_step:
                self._around.__exit__(None, None, None)
        # Set back, for the caller may be the code of another model, or of the embedding application.
        if self._stopwatch is not None:
            if (stopwatch := current_stopwatch.get()) is not None:
                stopwatch.stop()
            current_stopwatch.reset(self._stopwatch)
        if self._modules is not None:
            current_code.reset(self._modules)
        current_context.reset(self._call)
        current_metrics.reset(self._metrics)
        if error is None or is_shutdown(error) or (isinstance(error, MLSrvError) and not is_of_model(error)):
            return
        raise ModelFailed.of(self._code.name, self._code.version, error) from error


def as_async(method: Callable[..., Any], threads: Threads) -> Callable[..., Awaitable[Any]]:
    """Return a method in a form to be awaited: a coroutine function itself, another one in a thread."""
    if inspect.iscoroutinefunction(method):
        return method
    return functools.partial(_in_thread, threads, method)


def predict_as_async(
    method: Callable[[Any], Any], threads: Threads, name: str, sync_calls: SyncCalls | None
) -> Callable[[Any], Awaitable[Any]]:
    """Return the method `predict` of the model `name` in a form to be awaited, as `as_async` does.

    Args:
        sync_calls: chooses where a synchronous method runs; None for a thread each time.
    """
    made = as_async(method, threads)
    if made is method or sync_calls is None:
        return made
    return sync_calls(method, functools.partial(_in_thread, threads), name)


async def run_once(method: Callable[[], Any]) -> Any:
    """Call a method that may take long: a coroutine function on the loop, another one in its own thread."""
    if inspect.iscoroutinefunction(method):
        return await method()
    result = await run_in_own_thread(method)
    return await result if inspect.isawaitable(result) else result


async def _in_thread(threads: Threads, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    stopwatch = current_stopwatch.get()
    if stopwatch is None:
        result = await threads.run(function, *args, **kwargs)
    else:
        result = await threads.run(_timed, stopwatch, function, *args, **kwargs)
    # A plain function around an asynchronous one gives an awaitable, which belongs on the loop.
    return await result if inspect.isawaitable(result) else result


def _timed(stopwatch: Stopwatch, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function in the thread that it waited for."""
    stopwatch.lap("queue")
    try:
        return function(*args, **kwargs)
    finally:
        stopwatch.stop()
