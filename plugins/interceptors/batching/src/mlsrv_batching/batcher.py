"""The interceptor that joins requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from attrs import define

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, ModelFailed
from mlsrv.interceptor import CallNext, Interceptor, Phase
from mlsrv_batching.joining import compatibility, cut, join, rejoin, rows_of, split
from mlsrv_batching.observing import BatchMeter, batch_context, note_end
from mlsrv_batching.settings import BatchingSettings
from mlsrv_batching.window import Window
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

logger = logging.getLogger("mlsrv.batching")

REMEMBERED = 50
"""Decisions that can be looked at afterwards."""


@define(eq=False)
class _Member:
    """A request that waits to be part of a batch."""

    request: InferenceRequest
    context: CallContext
    rows: int
    born: float
    future: asyncio.Future[InferenceResponse]


class _Group:
    """The waiting requests that may be joined with each other, most urgent first."""

    def __init__(self) -> None:
        self.members: deque[_Member] = deque()
        self.timer: asyncio.TimerHandle | None = None

    @property
    def rows(self) -> int:
        return sum(member.rows for member in self.members)

    def add(self, member: _Member) -> None:
        """Behind every member that is at least as urgent."""
        place = len(self.members)
        while place and _urgency(member) < _urgency(self.members[place - 1]):
            place -= 1
        self.members.insert(place, member)


def _urgency(member: _Member) -> int:
    return member.context.priority or 1 << 32


class Batcher(Interceptor):
    """Runs what is there as soon as the model has a free slot; requests that come meanwhile are joined.

    Args:
        model: for messages.
        settings: with ``max_batch_size`` and ``max_batch_time`` set.
        meter: records batches and what waits.
        slots: batches that may run at once: the copies of the model.
    """

    phase: ClassVar[Phase] = Phase.BATCH

    def __init__(self, model: str, settings: BatchingSettings, meter: BatchMeter, slots: int = 1) -> None:
        self._model = model
        self._meter = meter
        self._unwatch = meter.watch(self._waiting)
        self._most = settings.max_batch_size
        self._longest = None if settings.max_batch_time == "auto" else float(settings.max_batch_time)
        self._window = Window(settings.latency_slo, settings.max_batch_size)
        self._slots = max(1, slots)
        self._running = 0
        self._groups: dict[Hashable, _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._alone = False
        self._call_next: CallNext
        self.decisions: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        rows = None if self._alone else rows_of(request)
        if rows is None:
            return await call_next(request, context)
        self._call_next = call_next
        # One who finds nobody there does not say that others will come: it may be a single client.
        self._window.arrivals.observe(rows if self._running or self._groups else 0)
        if rows > self._most:
            return await self._in_pieces(request, context, rows)
        if self._running < self._slots and not self._groups and self._wait(rows, 0.0) == 0.0:
            return await self._at_once(request, context, rows)
        return await self._join_in(request, context, rows)

    async def __aexit__(self, *exc_info: object) -> None:
        self._unwatch()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def explain(self) -> dict[str, Any]:
        """What is waiting and running now, what is known of the cost, and the last decisions."""
        return {
            "model": self._model,
            "running": self._running,
            "slots": self._slots,
            "waiting_requests": self._waiting(),
            "waiting_rows": sum(group.rows for group in self._groups.values()),
            "max_batch_size": self._most,
            "max_batch_time": "auto" if self._longest is None else self._longest,
            "batching": not self._alone,
            "cost": self._window.explain(),
            "decisions": list(self.decisions),
        }

    def _waiting(self) -> int:
        return sum(len(group.members) for group in self._groups.values())

    # --- ways through ---------------------------------------------------------------------------------------

    async def _at_once(self, request: InferenceRequest, context: CallContext, rows: int) -> InferenceResponse:
        self._running += 1
        started = time.monotonic()
        self._meter.begin([context], [started], rows)
        try:
            response = await self._call_next(request, context)
            self._note("idle", 1, rows, 0.0, started)
            return response
        finally:
            self._running -= 1
            self._pump("slot free")

    async def _join_in(self, request: InferenceRequest, context: CallContext, rows: int) -> InferenceResponse:
        loop = asyncio.get_running_loop()
        self._meter.came(float(self._waiting()))
        member = _Member(request, context, rows, time.monotonic(), loop.create_future())
        key = compatibility(request)
        group = self._groups.setdefault(key, _Group())
        group.add(member)
        if group.timer is None and self._longest is not None:
            group.timer = loop.call_later(self._longest, self._overdue, key)
        self._pump("full" if group.rows >= self._most else "slot free")
        return await member.future

    async def _in_pieces(
        self, request: InferenceRequest, context: CallContext, rows: int
    ) -> InferenceResponse:
        pieces = cut(request, rows, self._most)
        counts = [piece.inputs[0].shape[0] for piece in pieces]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._piece(piece, context)) for piece in pieces]
        results = [task.result() for task in running]
        for result in results:
            if isinstance(result, MLSrvError):
                raise result
        joined = rejoin([result for result in results if isinstance(result, InferenceResponse)], counts)
        if joined is not None:
            return joined
        self._give_up("its outputs do not have one row for each row of the inputs")
        return await self._call_next(request, context)

    async def _piece(self, piece: InferenceRequest, context: CallContext) -> InferenceResponse | MLSrvError:
        try:
            return await self._join_in(piece, context, piece.inputs[0].shape[0])
        except MLSrvError as error:
            return error

    # --- dispatch -------------------------------------------------------------------------------------------

    def _wait(self, rows: int, age: float) -> float:
        return 0.0 if self._longest is not None else self._window.wait(rows, age)

    def _pump(self, why: str) -> None:
        """Start batches while there are free slots."""
        while self._running < self._slots and self._groups:
            key = min(self._groups, key=lambda key: self._order(self._groups[key]))
            group = self._groups[key]
            if not group.members:
                self._drop(key)
                continue
            age = time.monotonic() - group.members[0].born
            pause = self._wait(group.rows, age)
            if pause > 0.0:
                if group.timer is None:
                    group.timer = asyncio.get_running_loop().call_later(pause, self._overdue, key)
                return
            self._start(key, why)

    @staticmethod
    def _order(group: _Group) -> tuple[int, float]:
        return (_urgency(group.members[0]), group.members[0].born) if group.members else (0, 0.0)

    def _overdue(self, key: Hashable) -> None:
        group = self._groups.get(key)
        if group is None:
            return
        group.timer = None
        self._start(key, "time")

    def _drop(self, key: Hashable) -> None:
        timer = self._groups.pop(key).timer
        if timer is not None:
            timer.cancel()

    def _start(self, key: Hashable, why: str) -> None:
        group = self._groups[key]
        batch: list[_Member] = []
        rows = 0
        while group.members and rows + group.members[0].rows <= self._most:
            member = group.members.popleft()
            if not member.future.done():  # else its client went away
                batch.append(member)
                rows += member.rows
        if not group.members:
            self._drop(key)
        elif group.timer is None and self._longest is not None:
            group.timer = asyncio.get_running_loop().call_later(self._longest, self._overdue, key)
        if batch:
            self._running += 1
            task = asyncio.create_task(self._run(batch, rows, why))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            for member in batch:
                member.future.add_done_callback(lambda _: _cancel_if_abandoned(task, batch))

    async def _run(self, batch: Sequence[_Member], rows: int, why: str) -> None:
        started = time.monotonic()
        waited = started - min(member.born for member in batch)
        self._meter.begin([member.context for member in batch], [member.born for member in batch], rows)
        try:
            if len(batch) == 1:
                await self._single(batch[0])
            else:
                await self._joined(batch)
            self._note(why, len(batch), rows, waited, started)
        except asyncio.CancelledError:
            for member in batch:
                member.future.cancel()
            raise
        except Exception as error:
            for member in batch:
                _fail(member, error)
        finally:
            self._running -= 1
            self._pump("slot free")

    async def _joined(self, batch: Sequence[_Member]) -> None:
        context = batch_context([member.context for member in batch])
        try:
            response = await self._call_next(join([member.request for member in batch]), context)
        except MLSrvError as error:
            if error.code is not Code.INVALID_ARGUMENT and not isinstance(error, ModelFailed):
                raise
            # One of them may be at fault: each gets an answer of its own.
            await self._one_by_one(batch)
            return
        finally:
            note_end(context)
        parts = split(response, [member.rows for member in batch])
        if parts is None:
            self._give_up("its outputs do not have one row for each row of the inputs")
            await self._one_by_one(batch)
            return
        for member, part in zip(batch, parts, strict=True):
            part.id = member.request.id or member.context.request_id
            if not member.future.done():
                member.future.set_result(part)

    async def _one_by_one(self, batch: Sequence[_Member]) -> None:
        for member in batch:
            if not member.future.done():
                await self._single(member)

    async def _single(self, member: _Member) -> None:
        try:
            response = await self._call_next(member.request, member.context)
        except MLSrvError as error:
            _fail(member, error)
        else:
            if not member.future.done():
                member.future.set_result(response)

    def _give_up(self, reason: str) -> None:
        if not self._alone:
            self._alone = True
            logger.warning("Requests to model %s are no longer batched: %s", self._model, reason)

    def _note(self, why: str, requests: int, rows: int, waited: float, started: float) -> None:
        seconds = time.monotonic() - started
        self._window.cost.observe(rows, seconds)
        self.decisions.append(
            {
                "why": why,
                "requests": requests,
                "rows": rows,
                "waited_seconds": round(waited, 6),
                "run_seconds": round(seconds, 6),
            }
        )


def _fail(member: _Member, error: Exception) -> None:
    if not member.future.done():
        member.future.set_exception(error)
        member.future.exception()  # marks it as seen: its client may be gone


def _cancel_if_abandoned(task: asyncio.Task[None], batch: Sequence[_Member]) -> None:
    if all(member.future.cancelled() for member in batch):
        task.cancel()
