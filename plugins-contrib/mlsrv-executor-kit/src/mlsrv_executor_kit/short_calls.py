"""Short calls: runs synchronous code of a model in a thread, and on the event loop once its calls are short.

Handing a call to a thread and its result back costs more than a short call itself. The code sees no running
event loop in either place, so that it may use ``asyncio.run``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import statistics
import threading
from asyncio import _set_running_loop
from collections.abc import Awaitable, Callable
from time import perf_counter_ns, thread_time_ns
from typing import Any, Final

from attrs import frozen

from mlsrv.context import current_context
from mlsrv_executor_kit.run_queue import run_queue_ns
from mlsrv_hosting_kit.threads import as_exception

logger = logging.getLogger("mlsrv.model")

CALLS: Final = 32
"""Calls after which it is decided for the first time where the next ones run."""
MOST_CALLS: Final = 1024
"""Calls in threads, at most, before it is decided again; each return to threads doubles their number."""
SHORT_NS: Final = 1_000_000
"""Nanoseconds of processor time that calls may take on average to count as short."""
USUAL_NS: Final = 2_000_000
"""Nanoseconds that every second call may last at most; others may have waited for the processor."""
LONG_NS: Final = 10_000_000
"""Nanoseconds from which a call is long. On the event loop, one that computed for so long sends the next ones
back to threads, and so do `MOST_LONG` that waited for something else than the processor."""
MOST_LONG: Final = 3
FORGET: Final = 16
"""Calls after which one long call is forgotten."""


@frozen
class ShortCalls:
    """The treatment of short calls by an executor, for `mlsrv.hosting.model_host.ModelHost`.

    Attributes:
        gate: limits how many calls run at once; None if something else does.
        on_change: called with True when the calls of a model move to the event loop, and with False when they
            move back; from any thread.
    """

    gate: asyncio.Semaphore | None = None
    on_change: Callable[[bool], None] = lambda _: None

    def __call__(
        self, function: Callable[[Any], Any], in_thread: Callable[..., Awaitable[Any]], name: str
    ) -> Callable[[Any], Awaitable[Any]]:
        """See `mlsrv.hosting.user_call.SyncCalls`."""
        return _with_short_calls(function, in_thread, name, self)


class CallCost:
    """Learns from the durations of calls where the next ones should run.

    Args:
        name: of the model, for the log.
        on_change: as that of `ShortCalls`.

    Attributes:
        is_short: True while calls should run on the event loop.
        is_watched: True after a call on the event loop that lasted long. Those that follow
            are measured for what they waited for, which costs too much to be done always.
    """

    __slots__ = ("_busy", "_count", "_lasted", "_lock", "_long", "_name", "_needed", "_on_change", "is_short")

    def __init__(self, name: str, on_change: Callable[[bool], None] = lambda _: None) -> None:
        self.is_short = False
        self._on_change = on_change
        self._name = name
        self._needed = CALLS
        self._lock = threading.Lock()
        self._lasted: list[int] = []
        self._busy = 0
        self._count = 0
        self._long = 0

    def add(self, lasted: int, busy: int) -> None:
        """Add a call in a thread: nanoseconds that it lasted, and that its thread computed."""
        with self._lock:  # calls end in several threads
            if self.is_short:
                return
            self._lasted.append(lasted)
            self._busy += busy
            if len(self._lasted) < self._needed:
                return
            usual, mean = statistics.median_low(self._lasted), self._busy / len(self._lasted)
            self._lasted, self._busy = [], 0
            if usual >= USUAL_NS or mean >= SHORT_NS:
                return
            self._count = self._long = 0
            self._on_change(True)  # before a call on the loop can change it back
            self.is_short = True
        logger.info(
            "Model %s: calls of predict take %.2f ms; they run on the event loop from now on",
            self._name,
            mean / 1e6,
        )

    @property
    def is_watched(self) -> bool:
        return self._long > 0

    def add_on_loop(self, lasted: int, busy: int, queued: int = 0) -> None:
        """Add a call on the event loop; as `add`.

        Args:
            queued: nanoseconds in which it could have computed, but other processes had the processor; 0 if
                that was not measured. They say nothing of the call.
        """
        self._count += 1
        self._busy += busy
        if self._count == FORGET:
            mean = self._busy / FORGET
            self._count = self._busy = 0
            self._long = max(0, self._long - 1)
            if mean >= 2 * SHORT_NS:
                self._back_to_threads(int(mean))
                return
        if max(lasted - queued, busy) >= LONG_NS:
            self._long += 1
            if busy >= LONG_NS or self._long >= MOST_LONG:
                self._back_to_threads(lasted)

    def _back_to_threads(self, lasted: int) -> None:
        self.is_short = False
        self._needed = min(2 * self._needed, MOST_CALLS)
        self._lasted, self._busy = [], 0
        self._on_change(False)
        logger.info(
            "Model %s: calls of predict take up to %.2f ms; the next %d run in threads",
            self._name,
            lasted / 1e6,
            self._needed,
        )


def _with_short_calls(
    function: Callable[[Any], Any],
    in_thread: Callable[..., Awaitable[Any]],
    name: str,
    short_calls: ShortCalls,
) -> Callable[[Any], Awaitable[Any]]:
    """Return a synchronous function in a form to be awaited; it runs on the loop while its calls are short.

    Args:
        function: takes one argument.
        in_thread: calls a function in a thread, with the arguments behind it.
        name: of the model, for the log.
        short_calls: the limit of calls, and who is told of changes.
    """
    gate = short_calls.gate
    cost = CallCost(name, short_calls.on_change)

    def timed(argument: Any) -> Any:
        began, busy = perf_counter_ns(), thread_time_ns()
        try:
            return function(argument)
        finally:
            cost.add(perf_counter_ns() - began, thread_time_ns() - busy)

    def on_loop(argument: Any) -> Any:
        loop = asyncio.get_running_loop()
        queued = run_queue_ns() if cost.is_watched else 0
        began, busy = perf_counter_ns(), thread_time_ns()
        _set_running_loop(None)
        try:
            return function(argument)
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            raise as_exception(error) from error
        finally:
            _set_running_loop(loop)
            lasted, busy = perf_counter_ns() - began, thread_time_ns() - busy
            cost.add_on_loop(lasted, busy, run_queue_ns() - queued if queued else 0)

    async def call(argument: Any) -> Any:
        if cost.is_short and (gate is None or not gate.locked()):
            result = on_loop(argument)  # nothing is awaited meanwhile: the gate need not be passed
        elif gate is None:
            return await in_thread(timed, argument)
        else:
            has_waited = gate.locked()
            async with gate:
                if has_waited and (context := current_context.get()) is not None:
                    context.check()
                if not cost.is_short:
                    return await in_thread(timed, argument)
                result = on_loop(argument)
        return await result if inspect.isawaitable(result) else result

    return call
