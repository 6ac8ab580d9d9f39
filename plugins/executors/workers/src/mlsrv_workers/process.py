"""One worker process, seen from the server."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from mlsrv.errors import MLSrvError
from mlsrv_workers import logs, messages
from mlsrv_workers.arena import make_file
from mlsrv_workers.connection import Connection
from mlsrv_workers.failures import WorkerEnded, describe_exit, load_error
from mlsrv_workers.frames import Frame, Kind
from mlsrv_workers.given import GivenPlugins

logger = logging.getLogger("mlsrv.workers")

START_TIMEOUT = 120.0
"""Seconds in which a new process must have imported its plugins."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@frozen
class Launch:
    """How worker processes of a pool are started.

    Attributes:
        plugins: what they load.
        threads: cap for numeric libraries, unless the environment sets its own.
        arena: bytes of shared memory for each direction.
        python: the interpreter.
        path: ``sys.path`` entries for the process, in order.
        record: where values of metrics go: (metric's fields, value, labels).
    """

    plugins: GivenPlugins
    threads: int
    arena: int
    record: Callable[[tuple[Any, ...], float, tuple[str, ...]], None]
    python: str = sys.executable
    path: tuple[str, ...] = field(factory=lambda: tuple(entry for entry in sys.path if entry))
    environment: Mapping[str, str] = field(factory=dict)

    def variables(self) -> dict[str, str]:
        """The environment of the process."""
        caps = {name: str(self.threads) for name in _THREAD_VARIABLES}
        return caps | dict(os.environ) | {"PYTHONPATH": os.pathsep.join(self.path)} | dict(self.environment)


class Pending:
    """A call that a worker has been sent.

    Attributes:
        slot: the kind of work that it takes a slot of (asynchronous or not), None for loads and unloads.
        future: its last frame.
        items: the frames of a stream that came before.
    """

    def __init__(self, slot: bool | None) -> None:
        self.slot = slot
        self.future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self.items: asyncio.Queue[Frame | None] = asyncio.Queue()

    def settle(self, frame: Frame) -> None:
        if frame.kind is Kind.ERROR:
            self.fail(load_error(frame.payload))
        elif not self.future.done():
            self.future.set_result(frame)
            self.items.put_nowait(None)

    def fail(self, error: MLSrvError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # marks it as seen: nobody may be waiting any more
            self.items.put_nowait(None)


class WorkerProcess:
    """A running process and the calls that it has.

    Attributes:
        models: ids of the placements that are loaded there.
        pid: of the process.
        reason: why it ended, once it has.
        running: calls that it has now, of synchronous and of asynchronous models.
    """

    def __init__(
        self, number: int, on_free: Callable[[], None], on_ended: Callable[[WorkerProcess], None]
    ) -> None:
        self.number = number
        self.models: set[int] = set()
        self.running = [0, 0]
        self.pid = 0
        self.reason = ""
        self.ended = asyncio.Event()
        self._on_free = on_free
        self._on_ended = on_ended
        self._calls: dict[int, Pending] = {}
        self._ids = itertools.count(1)
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._record: Callable[[tuple[Any, ...], float, tuple[str, ...]], None] = lambda *_: None

    async def start(self, launch: Launch) -> None:
        """Start the process and wait until it takes loads.

        Raises:
            MLSrvError: it does not come up; it is gone then.
        """
        self._record = launch.record
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        arenas = make_file(launch.arena), make_file(launch.arena)
        try:
            ours.setblocking(False)
            descriptors = (theirs.fileno(), *arenas)
            command = [launch.python, "-m", "mlsrv_workers.worker", *map(str, descriptors), str(os.getpid())]
            self._process = await asyncio.to_thread(
                subprocess.Popen,
                command,
                pass_fds=descriptors,
                env=launch.variables(),
                stdin=subprocess.DEVNULL,
            )
            self.pid = self._process.pid
            self._connection = await Connection.open(
                ours, self._on_frame, self._on_lost, arenas[0], arenas[1]
            )
        except OSError as error:
            ours.close()
            raise WorkerEnded(f"A worker process cannot be started: {error}") from error
        finally:
            theirs.close()
            for descriptor in arenas:
                os.close(descriptor)
        self._connection.send(
            Kind.CONFIGURE, 0, (launch.plugins, logging.getLogger("mlsrv").getEffectiveLevel())
        )
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._started
        except BaseException as error:
            self.kill()
            if isinstance(error, TimeoutError):
                raise WorkerEnded(
                    f"Worker {self.number} did not start within {START_TIMEOUT:.0f} s."
                ) from None
            raise

    def begin(
        self, kind: Kind, payload: Any, buffers: messages.Buffers | tuple[()] = (), slot: bool | None = None
    ) -> tuple[int, Pending]:
        """Send a call; `slot` is the kind of work whose room was reserved for it in `running`, if any."""
        call = next(self._ids)
        pending = Pending(slot)
        if self._connection is None or self.ended.is_set():
            pending.fail(self._ending())
            return call, pending
        self._calls[call] = pending
        self._connection.send(kind, call, payload, buffers)
        return call, pending

    async def ask(self, kind: Kind, payload: Any) -> Any:
        """Send a call that takes no slot (load, unload) and return its result."""
        call, pending = self.begin(kind, payload)
        try:
            return (await pending.future).payload
        except asyncio.CancelledError:
            self.cancel(call)
            raise

    def more(self, kind: Kind, call: int, payload: Any, buffers: messages.Buffers | tuple[()] = ()) -> None:
        """Send something that belongs to a running call."""
        if self._connection is not None and call in self._calls:
            self._connection.send(kind, call, payload, buffers)

    def cancel(self, call: int) -> None:
        """Tell the worker that nobody waits for a call; its slot is free once the worker says so."""
        self.more(Kind.CANCEL, call, None)

    def running_call(self, call: int) -> bool:
        """Whether the worker has not yet answered a call."""
        return call in self._calls

    async def stop(self, grace: float) -> None:
        """End the process: ask, then kill after `grace` seconds. Idempotent."""
        if self._connection is not None:
            self._connection.send(Kind.STOP)
        try:
            async with asyncio.timeout(grace):
                await self.ended.wait()
        except TimeoutError:
            logger.warning("Worker %d did not stop within %.1f s and is killed", self.number, grace)
        self.kill()
        await self.reaped()

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        if self._connection is not None:
            self._connection.close()

    async def reaped(self) -> int | None:
        """Wait until the process is gone; its exit status."""
        if self._process is None:
            return None
        return await asyncio.to_thread(self._process.wait)

    # --- inside -------------------------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind is Kind.RESULT or frame.kind is Kind.ERROR:
            self._settle(frame)
        elif frame.kind is Kind.STREAM_ITEM:
            if frame.call in self._calls:
                self._calls[frame.call].items.put_nowait(frame)
        elif frame.kind is Kind.RELEASE:
            assert self._connection is not None  # it has just received something
            self._connection.release(frame.call)
        elif frame.kind is Kind.LOG:
            logs.write(frame.payload, self.number)
        elif frame.kind is Kind.RECORD:
            self._record(*frame.payload)
        elif frame.kind is Kind.STARTED and not self._started.done():
            self._started.set_result(None)

    def _settle(self, frame: Frame) -> None:
        pending = self._calls.pop(frame.call, None)
        if pending is None:
            if frame.kind is Kind.ERROR and not self._started.done():
                self._started.set_exception(load_error(frame.payload))
            return
        pending.settle(frame)
        if pending.slot is not None:
            self.running[pending.slot] -= 1
            self._on_free()

    def _on_lost(self) -> None:
        self.ended.set()
        error = self._ending()
        self.reason = str(error)
        if not self._started.done():
            self._started.set_exception(error)
        calls, self._calls = self._calls, {}
        for pending in calls.values():
            pending.fail(error)
        self._on_ended(self)

    def _ending(self) -> WorkerEnded:
        status: int | None = None
        if self._process is not None:
            try:
                # The socket closes a moment before the process can be waited for.
                status = self._process.wait(0.2)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return WorkerEnded(f"The worker process ended unexpectedly ({describe_exit(status)}).")
