"""Worker process: the server's view of one process and of the calls that it runs."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

from mlsrv.errors import MLSrvError
from mlsrv.metrics import ProcessMetric
from mlsrv_executor_kit import log_records, serialization
from mlsrv_executor_kit.failures import load_error
from mlsrv_executor_kit.plain_values import dump
from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.failures import WorkerEnded, WorkerReplaced, describe_exit
from mlsrv_workers.ipc.frames import STREAM_WINDOW, Frame, FrameKind
from mlsrv_workers.ipc.shared_memory import create_shared_file
from mlsrv_workers.pool.answers import plain_of
from mlsrv_workers.pool.child_process import ChildProcess
from mlsrv_workers.pool.launch_spec import LaunchSpec
from mlsrv_workers.pool.pending_calls import PendingCall, PendingStream
from mlsrv_workers.pool.questions import Questions
from mlsrv_workers.pool.slot import Slot

logger = logging.getLogger("mlsrv.workers")

START_TIMEOUT = 120.0
"""Seconds in which a new process must have imported its plugins."""

DRAIN_SECONDS = 0.1
"""Seconds to read the last frames of an ended process whose connection another process keeps open."""

EXIT_TIMEOUT = 2.0
"""Seconds in which a process must end after it has closed its connection."""

METRICS_TIMEOUT = 0.25
"""Seconds in which a worker must return the metrics of its code."""

METRICS_PAUSE = 5.0
"""Seconds for which one that did not is not asked again, so that it does not hold up each scrape."""


class WorkerObserver(Protocol):
    """The owner of a worker process, which is told what happens to it."""

    def worker_free(self) -> None:
        """Handle that a slot is free again."""

    def worker_answers(self, worker: WorkerProcess) -> None:
        """Handle the answer to a ping."""

    def worker_used(self, worker: WorkerProcess) -> None:
        """Handle that the worker has answered as many requests as it may."""

    def worker_ended(self, worker: WorkerProcess) -> None:
        """Handle the end of the process."""


class WorkerProcess:
    """A running process and its calls.

    Args:
        number: number of the worker in its pool.
        observer: told what happens to it.
        max_requests: number of answered requests after which `WorkerObserver.worker_used` is called.

    Attributes:
        models: ids of the placements that are loaded in it.
        short: ids of those whose calls are short, and run on its event loop.
        pid: process id.
        running: number of running calls, by `Slot`.
        alone: True while it runs a request beside which no other may run.
        answered: number of calls that took slots and have ended.
        catching_up: lock that is held while models are loaded that the other workers have.
        prepared: True once it has all models.
        pinged_at: time of the event loop at which the ping was sent that is not yet answered, or None.
        over: set once the process has ended, or is to be replaced.
        ended: set once the process has ended.
        reason: the reason of its end, a sentence.
        replaced: True if the pool ended it, and not the worker itself.
        struck: True if a signal ended the process that the pool did not send, such as that of a system whose
            memory is short.
        running_at_end: number of requests that it was running when it ended, by id of the placement.
    """

    def __init__(self, number: int, observer: WorkerObserver, max_requests: int | None = None) -> None:
        self.number = number
        self.models: set[int] = set()
        self.short: set[int] = set()
        self.running = [0] * len(Slot)
        self.pid = 0
        self.catching_up = asyncio.Lock()
        self.prepared = False
        self.pinged_at: float | None = None
        self.over = asyncio.Event()
        self.ended = asyncio.Event()
        self.reason = ""
        self.replaced = False
        self.struck = False
        self.running_at_end: Counter[int] = Counter()
        self._observer = observer
        self.alone = False
        self.answered = 0
        self._max_requests = max_requests
        self._killed = False
        self._metrics_after = 0.0
        self._draining: asyncio.Event | None = None
        self._calls: dict[int, PendingCall] = {}
        self._ids = itertools.count(1)
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process: ChildProcess | None = None
        self._connection: Connection | None = None
        self._questions: Questions | None = None
        self._record: Callable[[tuple[Any, ...], float, tuple[str, ...]], None] = lambda *_: None

    # --- lifetime -------------------------------------------------------------------------------------------

    async def start(self, launch: LaunchSpec) -> None:
        """Start the process and wait until it accepts loads.

        Raises:
            MLSrvError: it does not start; it has ended then.
        """
        self._record = launch.record
        self._questions = Questions(launch.ask, self._on_waiting)
        try:
            await self._open(launch)
            async with asyncio.timeout(START_TIMEOUT):
                await self._started
        except BaseException as error:
            self.kill()
            await self.wait_ended()
            if isinstance(error, TimeoutError):
                raise WorkerEnded(f"A worker process did not start within {START_TIMEOUT:.0f} s.") from None
            if isinstance(error, OSError):
                raise WorkerEnded(f"A worker process cannot be started: {error}.") from error
            raise

    async def _open(self, launch: LaunchSpec) -> None:
        with ExitStack() as stack:
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            stack.callback(there.close)
            with ExitStack() as unless_opened:
                unless_opened.callback(here.close)
                here.setblocking(False)
                memories = []
                for _ in range(2):
                    memories.append(create_shared_file(launch.shared_memory))
                    stack.callback(os.close, memories[-1])
                descriptors = (there.fileno(), *memories)
                self._process = ChildProcess.start(
                    launch.command(*descriptors), descriptors, launch.variables()
                )
                self.pid = self._process.pid
                self._process.exited.add_done_callback(self._on_exit)
                self._connection = await Connection.open(here, self._on_frame, self._on_lost, *memories)
                unless_opened.pop_all()
        level = logging.getLogger("mlsrv").getEffectiveLevel()
        self._connection.send(FrameKind.CONFIGURE, 0, dump((launch.plugins, launch.settings, level)))

    async def stop(self, grace: float) -> None:
        """Ask the process to stop, and kill it after `grace` seconds. Idempotent."""
        self.reason = self.reason or "The server stopped before the request was answered."
        if self._connection is not None:
            self._connection.send(FrameKind.STOP)
        try:
            async with asyncio.timeout(grace):
                await self.wait_ended()
        except TimeoutError:
            logger.warning("Worker %d did not stop within %.1f s and is killed", self.number, grace)
        self.kill()
        await self.wait_ended()

    def kill(self, reason: str = "", *, replaced: bool = False) -> None:
        """Kill the process. Its calls fail with `reason`, as a refusal if `replaced` is True."""
        self.reason = self.reason or reason
        self.replaced = self.replaced or replaced
        if self._process is not None:
            self._killed = self._killed or not self._process.exited.done()
            self._process.kill()
        else:
            self._end()

    async def wait_ended(self) -> None:
        """Wait until the process has ended and the connection is closed."""
        await self.ended.wait()

    # --- calls ----------------------------------------------------------------------------------------------

    def begin(
        self, kind: FrameKind, pending: PendingCall, body: bytes, buffers: serialization.Buffers | None = None
    ) -> int:
        """Send a call and return its id. A slot that it takes was counted in `running` by the scheduler."""
        call = next(self._ids)
        if self._connection is None or self.ended.is_set():
            pending.fail(self._ended_error())
            return call
        self._calls[call] = pending
        self._connection.send(kind, call, body, buffers)
        return call

    async def ask(self, kind: FrameKind, payload: Any) -> Any:
        """Send a call that takes no slot (load, unload) and return its result."""
        pending = PendingCall(None)
        call = self.begin(kind, pending, dump(payload))
        try:
            return plain_of(await pending.future)
        except asyncio.CancelledError:
            self.cancel(call)
            raise

    async def process_metrics(self) -> list[ProcessMetric] | None:
        """Return the metrics that code made with `prometheus_client` alone, or None if there is no answer."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._metrics_after:
            return None
        try:
            async with asyncio.timeout(METRICS_TIMEOUT):
                found: list[ProcessMetric] = await self.ask(FrameKind.METRICS, None)
        except (MLSrvError, TimeoutError):  # it has ended, or its event loop is busy
            self._metrics_after = loop.time() + METRICS_PAUSE
            return None
        return found

    def send_to_call(
        self, kind: FrameKind, call: int, body: bytes, buffers: serialization.Buffers | None = None
    ) -> None:
        """Send a further frame of a running call."""
        if self._connection is not None and call in self._calls:
            self._connection.send(kind, call, body, buffers)

    def cancel(self, call: int) -> None:
        """Cancel a call in the worker; its slot is free once the worker reports its end."""
        self.send_to_call(FrameKind.CANCEL, call, dump(None))

    def is_running(self, call: int) -> bool:
        """Return True if the worker has not yet answered a call."""
        return call in self._calls

    # --- health ---------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Ask the event loop of the process for an answer, unless an answer is still missing."""
        if self._connection is not None and self.pinged_at is None:
            self.pinged_at = asyncio.get_running_loop().time()
            self._connection.send(FrameKind.PING)

    @property
    def silent_for(self) -> float:
        """Seconds for which a ping has not been answered; 0.0 if none is missing."""
        return 0.0 if self.pinged_at is None else asyncio.get_running_loop().time() - self.pinged_at

    @property
    def loading(self) -> bool:
        """True while a load or unload that is still wanted runs in it."""
        return any(call.slot is None and not call.future.done() for call in self._calls.values())

    @property
    def requests(self) -> int:
        """Number of running requests that are not overdue."""
        return sum(call.slot is not None and not call.overdue for call in self._calls.values())

    async def drain(self) -> None:
        """Wait until no requests run but those that are overdue."""
        while self.requests and not self.ended.is_set():
            self._draining = asyncio.Event()
            await self._draining.wait()

    def mark_overdue(self, call: int) -> int | None:
        """Mark a call that is still running as overdue; return the id of its placement.

        Returns None if it has ended.
        """
        pending = self._calls.get(call)
        if pending is None:
            return None
        pending.overdue = True
        self._changed()
        return pending.model

    def overdue(self, slot: Slot) -> int:
        """Return the number of overdue calls that take slots of one kind."""
        return sum(call.slot is slot and call.overdue for call in self._calls.values())

    # --- inside ---------------------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        kind = frame.kind
        if kind is FrameKind.RESULT or kind is FrameKind.ERROR:
            self._settle(frame)
        elif kind is FrameKind.STREAM_ITEM:
            if isinstance(stream := self._calls.get(frame.call), PendingStream):
                if stream.items.qsize() > STREAM_WINDOW:
                    self.kill("It sent more responses of a stream than it may.")
                stream.items.put_nowait(frame)
        elif kind is FrameKind.STREAM_CREDIT:
            if isinstance(stream := self._calls.get(frame.call), PendingStream):
                for _ in range(min(frame.plain(), STREAM_WINDOW)):
                    stream.credit.release()
        elif kind is FrameKind.ASK:
            assert self._connection is not None  # a frame came from it
            assert self._questions is not None
            self._questions.take(frame, self._calls.get(frame.call), self._connection)
        elif kind is FrameKind.RELEASE:
            assert self._connection is not None  # a frame came from it
            self._connection.release(frame.call)
        elif kind is FrameKind.LOG:
            log_records.handle_record(frame.plain(), self.number)
        elif kind is FrameKind.RECORD:
            self._record(*frame.plain())
        elif kind is FrameKind.SHORT:
            placement, is_short = frame.plain()
            (self.short.add if is_short else self.short.discard)(placement)
        elif kind is FrameKind.PONG:
            self.pinged_at = None
            self._observer.worker_answers(self)
        elif kind is FrameKind.STARTED and not self._started.done():
            self._started.set_result(None)

    def _settle(self, frame: Frame) -> None:
        pending = self._calls.pop(frame.call, None)
        if pending is None:
            if frame.kind is FrameKind.ERROR and not self._started.done():
                self._fail_start(load_error(frame.plain()[0]))
            return
        pending.settle(frame)
        if pending.slot is not None:
            if not pending.questions:
                self.running[pending.slot] -= 1
                self.alone = False
            self.answered += 1
            if self.answered == self._max_requests:
                self._observer.worker_used(self)
            self._changed()
            self._observer.worker_free()

    def _on_waiting(self, call: int, waits: bool) -> None:
        """Give back the slot of a call whose code waits for other models, or take it again afterwards."""
        pending = self._calls.get(call)
        if pending is None or pending.slot is None:
            return
        if waits:
            pending.alone, self.alone = self.alone, False
            self.running[pending.slot] -= 1
            self._observer.worker_free()
        else:
            self.alone = self.alone or pending.alone
            self.running[pending.slot] += 1

    def _changed(self) -> None:
        if self._draining is not None:
            self._draining.set()

    def _on_lost(self) -> None:
        """Handle the loss of the connection: the process has just ended, or is about to."""
        if self._process is None or self._process.exited.done():
            self._end()
            return
        asyncio.get_running_loop().call_later(EXIT_TIMEOUT, self._process.kill)

    def _on_exit(self, status: asyncio.Future[int]) -> None:
        """Handle the end of the process. The connection closes next, unless another process inherited it."""
        self.struck = status.result() < 0 and not self._killed
        if self._connection is None or self._connection.closed:
            self._end()
        else:
            asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._connection.abort)

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        self.over.set()
        self._fail_start(self._ended_error())
        calls, self._calls = self._calls, {}
        if self._questions is not None:
            self._questions.stop()
        self.running_at_end = Counter(call.model for call in calls.values() if call.slot is not None)
        for pending in calls.values():
            pending.fail(self._ended_error())  # one error each: raising adds to its traceback
        self._changed()
        self._observer.worker_ended(self)

    def _fail_start(self, error: MLSrvError) -> None:
        if not self._started.done():
            self._started.set_exception(error)
            self._started.exception()  # marks it as retrieved: the start may have been cancelled

    def _ended_error(self) -> WorkerEnded:
        exited = self._process is not None and self._process.exited.done()
        status = self._process.exited.result() if self._process is not None and exited else None
        self.reason = self.reason or f"The worker process ended unexpectedly ({describe_exit(status)})."
        return (WorkerReplaced if self.replaced else WorkerEnded)(self.reason)
