"""Batcher: the interceptor that joins requests into batches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from functools import partial
from typing import Any, ClassVar

from attrs import define

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, ModelFailed
from mlsrv.interceptor import CallNext, Interceptor, Phase
from mlsrv_batching.joining import compatibility, cut, join, rejoin, rows_of, split
from mlsrv_batching.limits import Cost, Limits
from mlsrv_batching.observing import BatchMeter, batch_context, copy_spans_to_members
from mlsrv_batching.parameters import Dealer, NotDealt, has_merged
from mlsrv_batching.settings import BatchingSettings
from mlsrv_batching.window import Window
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

logger = logging.getLogger("mlsrv.batching")

MAX_DECISIONS = 50
"""Number of decisions that `explain` returns."""


_REFUSALS = frozenset(
    (Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.ALREADY_EXISTS, Code.TOO_LARGE, Code.UNIMPLEMENTED)
)
"""Codes of errors that are about what a request holds."""


@define(eq=False)
class _Member:
    """A request that waits to become part of a batch."""

    request: InferenceRequest
    context: CallContext
    rows: int
    tokens: int
    arrived_at: float
    future: asyncio.Future[InferenceResponse]
    on_abandoned: Callable[[], None] | None = None
    """Called when its client has gone while it is part of a batch."""


class _Group:
    """The waiting requests that may be joined with each other, by priority, then arrival.

    Attributes:
        rows, tokens: of all members.
    """

    def __init__(self) -> None:
        self.members: deque[_Member] = deque()
        self.rows = self.tokens = 0
        self.timer: asyncio.TimerHandle | None = None

    def add(self, member: _Member) -> None:
        """Insert a member after all members of the same or a higher priority."""
        position = len(self.members)
        while position and _urgency(member) < _urgency(self.members[position - 1]):
            position -= 1
        self.members.insert(position, member)
        self.rows += member.rows
        self.tokens += member.tokens

    def take(self) -> _Member:
        """Remove the first member."""
        member = self.members.popleft()
        self.rows -= member.rows
        self.tokens -= member.tokens
        return member


def _urgency(member: _Member) -> int:
    return member.context.priority or 1 << 32


class Batcher(Interceptor):
    """Runs requests as soon as the model has a free slot; requests that arrive meanwhile are joined.

    Args:
        model: name of the model, for messages.
        settings: settings of batching, which enable it.
        meter: records batches and waiting requests.
        slots: batches that may run at once: the replicas of the model.
        codec_parameters: keys of input parameters that say how the data is encoded. Requests are joined only
            if their values are equal.
        cost: counts the tokens of a request, for the limit of them; None without one.
        whole_inputs: inputs whose elements belong to no row. A request that has one is not joined, nor cut.
    """

    phase: ClassVar[Phase] = Phase.BATCH

    def __init__(
        self,
        model: str,
        settings: BatchingSettings,
        meter: BatchMeter,
        slots: int = 1,
        codec_parameters: Collection[str] = (),
        cost: Cost | None = None,
        whole_inputs: Collection[str] = (),
    ) -> None:
        self._model = model
        self._meter = meter
        self._stop_gauge = meter.show_waiting(self._waiting)
        self._limits = Limits(settings.max_batch_size, settings.max_batch_tokens, cost)
        self._whole_inputs = frozenset(whole_inputs)
        self._max_wait = None if settings.max_batch_time == "auto" else float(settings.max_batch_time)
        self._window = Window(settings.latency_slo, settings.max_batch_size)
        self._slots = max(1, slots)
        self._shared = frozenset(codec_parameters)
        self._by_row = tuple(settings.batch_row_parameters)
        self._merges = True
        self._running = 0
        self._groups: dict[Hashable, _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._disabled = False
        self._call_next: CallNext
        self.decisions: deque[dict[str, Any]] = deque(maxlen=MAX_DECISIONS)

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        rows = None if self._disabled else rows_of(request)
        if rows is None or (self._whole_inputs and self._has_whole_input(request)):
            return await call_next(request, context)
        self._call_next = call_next
        # A request that finds the model idle does not count as an arrival: it may be a single client's.
        self._window.arrivals.observe(rows if self._running or self._groups else 0)
        if rows > self._limits.rows:
            return await self._run_in_pieces(request, context, rows)
        if self._running < self._slots and not self._groups and self._pause_before(rows, 0.0) == 0.0:
            return await self._run_now(request, context, rows)
        return await self._enqueue(request, context, rows)

    def _has_whole_input(self, request: InferenceRequest) -> bool:
        return any(tensor.name in self._whole_inputs for tensor in request.inputs)

    async def __aexit__(self, *exc_info: object) -> None:
        self._stop_gauge()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def explain(self) -> dict[str, Any]:
        """Return waiting and running requests, the measured cost and the last decisions as plain values."""
        return {
            "model": self._model,
            "running": self._running,
            "slots": self._slots,
            "waiting_requests": self._waiting(),
            "waiting_rows": sum(group.rows for group in self._groups.values()),
            "waiting_tokens": sum(group.tokens for group in self._groups.values()),
            "max_batch_size": self._limits.rows,
            "max_batch_tokens": self._limits.tokens,
            "max_batch_time": "auto" if self._max_wait is None else self._max_wait,
            "batching": not self._disabled,
            "cost": self._window.explain(),
            "decisions": list(self.decisions),
        }

    def _waiting(self) -> int:
        return sum(len(group.members) for group in self._groups.values())

    # --- paths of a request ---------------------------------------------------------------------------------

    async def _run_now(self, request: InferenceRequest, context: CallContext, rows: int) -> InferenceResponse:
        self._running += 1
        started = time.monotonic()
        self._meter.begin([context], [started], rows)
        try:
            response = await self._call_next(request, context)
            self._record_decision("idle", 1, rows, 0.0, started)
            return response
        finally:
            self._running -= 1
            self._start_ready("slot free")

    async def _enqueue(self, request: InferenceRequest, context: CallContext, rows: int) -> InferenceResponse:
        loop = asyncio.get_running_loop()
        self._meter.enqueued(float(self._waiting()))
        tokens = self._limits.tokens_of(request)
        member = _Member(request, context, rows, tokens, time.monotonic(), loop.create_future())
        key = self._group_key(request)
        group = self._groups.setdefault(key, _Group())
        group.add(member)
        if group.timer is None and self._max_wait is not None:
            group.timer = loop.call_later(self._max_wait, self._on_timeout, key)
        self._start_ready("full" if self._limits.are_full(group.rows, group.tokens) else "slot free")
        try:
            return await member.future
        except asyncio.CancelledError:
            if member.on_abandoned is not None:
                member.on_abandoned()
            raise
        finally:
            member.on_abandoned = None  # it refers to the batch

    def _group_key(self, request: InferenceRequest) -> Hashable:
        if not self._merges and has_merged(request, self._shared):
            return object()
        return compatibility(request, self._shared)

    async def _run_in_pieces(
        self, request: InferenceRequest, context: CallContext, rows: int
    ) -> InferenceResponse:
        pieces = cut(request, rows, self._limits.rows)
        counts = [piece.inputs[0].shape[0] for piece in pieces]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._run_piece(piece, context)) for piece in pieces]
        results = [task.result() for task in running]
        for result in results:
            if isinstance(result, Exception):
                raise result
        answers = [result for result in results if isinstance(result, InferenceResponse)]
        joined = rejoin(answers, counts, self._by_row)
        if joined is not None:
            return joined
        self._disable("its outputs do not have one row for each row of the inputs")
        return await self._call_next(request, context)

    async def _run_piece(
        self, piece: InferenceRequest, context: CallContext
    ) -> InferenceResponse | Exception:
        try:
            return await self._enqueue(piece, context, piece.inputs[0].shape[0])
        except Exception as error:  # raised again when all pieces are done
            return error

    # --- dispatch -------------------------------------------------------------------------------------------

    def _pause_before(self, rows: int, age: float) -> float:
        return 0.0 if self._max_wait is not None else self._window.wait(rows, age)

    def _start_ready(self, reason: str) -> None:
        """Start batches while there are free slots."""
        while self._running < self._slots and self._groups:
            key = min(self._groups, key=lambda key: self._order(self._groups[key]))
            group = self._groups[key]
            if not group.members:
                self._remove_group(key)
                continue
            age = time.monotonic() - group.members[0].arrived_at
            pause = self._pause_before(group.rows, age)
            if pause > 0.0:
                if group.timer is None:
                    group.timer = asyncio.get_running_loop().call_later(pause, self._on_timeout, key)
                return
            self._start(key, reason)

    @staticmethod
    def _order(group: _Group) -> tuple[int, float]:
        return (_urgency(group.members[0]), group.members[0].arrived_at) if group.members else (0, 0.0)

    def _on_timeout(self, key: Hashable) -> None:
        group = self._groups.get(key)
        if group is None:
            return
        group.timer = None
        self._start(key, "time")

    def _remove_group(self, key: Hashable) -> None:
        timer = self._groups.pop(key).timer
        if timer is not None:
            timer.cancel()

    def _start(self, key: Hashable, reason: str) -> None:
        group = self._groups[key]
        batch: list[_Member] = []
        rows = tokens = 0
        while group.members:
            following = group.members[0]
            # One that is too large by itself must run, too.
            if batch and not self._limits.take(rows + following.rows, tokens + following.tokens):
                break
            group.take()
            if not following.future.done():  # otherwise its client has gone
                batch.append(following)
                rows += following.rows
                tokens += following.tokens
        if not group.members:
            self._remove_group(key)
        elif group.timer is None and self._max_wait is not None:
            group.timer = asyncio.get_running_loop().call_later(self._max_wait, self._on_timeout, key)
        if batch:
            self._running += 1
            task = asyncio.create_task(self._run(batch, rows, reason))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            on_abandoned = partial(_cancel_if_abandoned, task, batch)
            for member in batch:
                member.on_abandoned = on_abandoned

    async def _run(self, batch: Sequence[_Member], rows: int, reason: str) -> None:
        started = time.monotonic()
        waited = started - min(member.arrived_at for member in batch)
        self._meter.begin([member.context for member in batch], [member.arrived_at for member in batch], rows)
        try:
            if len(batch) == 1:
                await self._run_single(batch[0])
            else:
                await self._run_joined(batch)
            self._record_decision(reason, len(batch), rows, waited, started)
        except asyncio.CancelledError:
            for member in batch:
                member.future.cancel()
            raise
        except Exception as error:
            for member in batch:
                _fail(member, error)
        finally:
            self._running -= 1
            self._start_ready("slot free")

    async def _run_joined(self, batch: Sequence[_Member]) -> None:
        context = batch_context([member.context for member in batch])
        request = join([member.request for member in batch], self._shared)
        dealer = Dealer(request, len(batch), self._shared, self._by_row)
        try:
            response = await self._call_next(request, context)
        except MLSrvError as error:
            if not _concerns_one(error):
                raise
            # A single member may be the cause: each is run by itself.
            await self._run_one_by_one(batch)
            return
        finally:
            copy_spans_to_members(context)
        try:
            parts = split(response, [member.rows for member in batch], dealer)
        except NotDealt as error:
            self._stop_merging(error)
            await self._run_one_by_one(batch)
            return
        if parts is None:
            self._disable("its outputs do not have one row for each row of the inputs")
            await self._run_one_by_one(batch)
            return
        for member, part in zip(batch, parts, strict=True):
            part.id = member.request.id or member.context.request_id
            if not member.future.done():
                member.future.set_result(part)

    async def _run_one_by_one(self, batch: Sequence[_Member]) -> None:
        for member in batch:
            if not member.future.done():
                await self._run_single(member)

    async def _run_single(self, member: _Member) -> None:
        try:
            response = await self._call_next(member.request, member.context)
        except Exception as error:  # it is this member's answer, and others wait for their turn
            _fail(member, error)
        else:
            if not member.future.done():
                member.future.set_result(response)

    def _disable(self, cause: str) -> None:
        if not self._disabled:
            self._disabled = True
            logger.warning("Requests to model %s are no longer batched: %s", self._model, cause)

    def _stop_merging(self, cause: NotDealt) -> None:
        if self._merges:
            self._merges = False
            logger.warning(
                "Requests to model %s whose inputs have parameters are no longer batched: it returned %s",
                self._model,
                cause,
            )

    def _record_decision(self, reason: str, requests: int, rows: int, waited: float, started: float) -> None:
        seconds = time.monotonic() - started
        self._window.cost.observe(rows, seconds)
        self.decisions.append(
            {
                "why": reason,
                "requests": requests,
                "rows": rows,
                "waited_seconds": round(waited, 6),
                "run_seconds": round(seconds, 6),
            }
        )


def _concerns_one(error: MLSrvError) -> bool:
    """Return whether one member may have caused an error, so that the others can be answered.

    Repeating must be safe: not after the end of a process, which may end the next one, too, and not when the
    server has no room or time.
    """
    if isinstance(error, ModelFailed) or error.code in _REFUSALS:
        return True
    # Errors of the way to the model and back, which end no process, are of no class of their own.
    return type(error) is MLSrvError and error.code is Code.INTERNAL


def _fail(member: _Member, error: Exception) -> None:
    if not member.future.done():
        member.future.set_exception(error)
        member.future.exception()  # marks it as retrieved: its client may be gone


def _cancel_if_abandoned(task: asyncio.Task[None], batch: Sequence[_Member]) -> None:
    if all(member.future.cancelled() for member in batch):
        task.cancel()
