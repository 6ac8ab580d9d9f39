"""One worker process, seen from the server."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import field, frozen

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv_workers.environments import shared_packages as lending
from mlsrv_workers.environments.environments import Environment
from mlsrv_workers.ipc import log_forwarding as logs
from mlsrv_workers.ipc import serialization as messages
from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.failures import WorkerEnded, describe_exit, load_error
from mlsrv_workers.ipc.frames import STREAM_WINDOW, Frame, Kind, dump
from mlsrv_workers.ipc.shared_memory import make_file
from mlsrv_workers.pool.child_process import Child
from mlsrv_workers.worker import boot
from mlsrv_workers.worker.plugin_specs import GivenPlugins

logger = logging.getLogger("mlsrv.workers")

START_TIMEOUT = 120.0
"""Seconds in which a new process must have imported its plugins."""

LAST_WORDS = 0.1
"""Seconds for what a process sent before it ended, when something else keeps its end of the connection
open."""

SLOW_EXIT = 2.0
"""Seconds that a process has to end after it closed its connection."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@frozen
class Launch:
    """How worker processes of a pool are started.

    Attributes:
        plugins: what they load.
        settings: of the server, as plain data.
        threads: cap for numeric libraries, unless the environment sets its own.
        arena: bytes of shared memory for each direction.
        record: where values of metrics go: (metric's fields, value, labels).
        environment: of the models; None is the server's own.
        path: ``sys.path`` of a process in the server's own environment.
    """

    plugins: GivenPlugins
    settings: Mapping[str, Any]
    threads: int
    arena: int
    record: Callable[[tuple[Any, ...], float, tuple[str, ...]], None]
    environment: Environment | None = None
    path: tuple[str, ...] = field(factory=lambda: tuple(entry or os.getcwd() for entry in sys.path))

    def command(self, *descriptors: int) -> list[str]:
        """The command line of the process."""
        arguments = [
            str(Path(boot.__file__)),
            json.dumps(self._plan()),
            *map(str, descriptors),
            str(os.getpid()),
        ]
        if self.environment is None:
            return [sys.executable, "-P", *arguments]
        without_site = ["-S"] if self.environment.sites else []
        return [self.environment.python, "-I", *without_site, *arguments]

    def variables(self) -> dict[str, str]:
        """The environment variables of the process."""
        values = {name: str(self.threads) for name in _THREAD_VARIABLES} | dict(os.environ)
        if self.environment is not None:
            programs = str(Path(self.environment.folder) / "bin")
            values["PATH"] = os.pathsep.join(filter(None, (programs, values.get("PATH"))))
        return values

    def _plan(self) -> dict[str, Any]:
        """See `mlsrv_workers.worker.boot`."""
        if self.environment is None:
            return {"path": self.path, "sites": (), "ours": {}, "needed": {}, "lent": {}, "folders": ()}
        return {
            "path": None,
            "sites": self.environment.sites,
            "ours": lending.folders((*lending.OURS, *self.plugins.packages)),
            "needed": lending.needed(),
            "lent": lending.folders(lending.LENT),
            "folders": self._folders(),
        }

    def _folders(self) -> list[str]:
        """Where the server finds code that is not installed: where it runs, and where its models are."""
        root = self.settings.get("model_repository_root") or "."
        return [entry for entry in self.path if entry in (os.getcwd(), os.path.abspath(root))]


class Pending:
    """A call that a worker has been sent.

    Attributes:
        slot: the kind of work that it takes a slot of (asynchronous or not), None for loads and unloads.
        context: of the request, if there is one.
        future: its last frame.
    """

    def __init__(self, slot: bool | None, context: CallContext | None = None) -> None:
        self.slot = slot
        self.context = context
        self.future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

    def settle(self, frame: Frame) -> None:
        """The last frame has come."""
        if frame.kind is Kind.ERROR:
            error, spans = frame.payload()
            if self.context is not None:
                messages.load_timeline(spans, self.context)
            self.fail(load_error(error))
        elif not self.future.done():
            self.future.set_result(frame)

    def fail(self, error: MLSrvError) -> None:
        """There will be no frame."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # marks it as seen: nobody may be waiting any more


class PendingStream(Pending):
    """A stream that a worker has been sent.

    Attributes:
        items: the frames that come before the last, then None.
        credit: how many requests the worker takes before it has read those that are on their way.
    """

    def __init__(self, slot: bool, context: CallContext) -> None:
        super().__init__(slot, context)
        self.items: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.credit = asyncio.Semaphore(STREAM_WINDOW)
        self.future.add_done_callback(lambda _: self.items.put_nowait(None))


class WorkerProcess:
    """A running process and the calls that it has.

    Attributes:
        models: ids of the placements that are loaded there.
        pid: of the process.
        running: calls that it has now, of synchronous and of asynchronous models.
        catching_up: held while models are loaded that the other workers have.
        ended: set once it is gone; `reason` is a sentence then.
    """

    def __init__(
        self, number: int, on_free: Callable[[], None], on_ended: Callable[[WorkerProcess], None]
    ) -> None:
        self.number = number
        self.models: set[int] = set()
        self.running = [0, 0]
        self.pid = 0
        self.catching_up = asyncio.Lock()
        self.ended = asyncio.Event()
        self.reason = ""
        self._on_free = on_free
        self._on_ended = on_ended
        self._calls: dict[int, Pending] = {}
        self._ids = itertools.count(1)
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._child: Child | None = None
        self._connection: Connection | None = None
        self._record: Callable[[tuple[Any, ...], float, tuple[str, ...]], None] = lambda *_: None

    # --- lifetime -------------------------------------------------------------------------------------------

    async def start(self, launch: Launch) -> None:
        """Start the process and wait until it takes loads.

        Raises:
            MLSrvError: it does not come up; it is gone then.
        """
        self._record = launch.record
        try:
            await self._open(launch)
            async with asyncio.timeout(START_TIMEOUT):
                await self._started
        except BaseException as error:
            self.kill()
            await self.gone()
            if isinstance(error, TimeoutError):
                raise WorkerEnded(f"A worker process did not start within {START_TIMEOUT:.0f} s.") from None
            if isinstance(error, OSError):
                raise WorkerEnded(f"A worker process cannot be started: {error}.") from error
            raise

    async def _open(self, launch: Launch) -> None:
        with ExitStack() as stack:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            stack.callback(theirs.close)
            with ExitStack() as until_open:
                until_open.callback(ours.close)
                ours.setblocking(False)
                arenas = []
                for _ in range(2):
                    arenas.append(make_file(launch.arena))
                    stack.callback(os.close, arenas[-1])
                descriptors = (theirs.fileno(), *arenas)
                self._child = Child.start(launch.command(*descriptors), descriptors, launch.variables())
                self.pid = self._child.pid
                self._child.exited.add_done_callback(self._on_exit)
                self._connection = await Connection.open(ours, self._on_frame, self._on_lost, *arenas)
                until_open.pop_all()
        level = logging.getLogger("mlsrv").getEffectiveLevel()
        self._connection.send(Kind.CONFIGURE, 0, dump((launch.plugins, launch.settings, level)))

    async def stop(self, grace: float) -> None:
        """End the process: ask, then kill after `grace` seconds. Idempotent."""
        self.reason = self.reason or "The server stopped before the request was answered."
        if self._connection is not None:
            self._connection.send(Kind.STOP)
        try:
            async with asyncio.timeout(grace):
                await self.gone()
        except TimeoutError:
            logger.warning("Worker %d did not stop within %.1f s and is killed", self.number, grace)
        self.kill()
        await self.gone()

    def kill(self, reason: str = "") -> None:
        """End the process at once. `reason` is told to those whose calls it had."""
        self.reason = self.reason or reason
        if self._child is not None:
            self._child.kill()
        else:
            self._end()

    async def gone(self) -> None:
        """Wait until the process has ended and the connection is closed."""
        await self.ended.wait()

    # --- calls ----------------------------------------------------------------------------------------------

    def begin(
        self, kind: Kind, pending: Pending, body: bytes, buffers: messages.Buffers | None = None
    ) -> int:
        """Send a call and return its id. Room for it was reserved in `running` if it takes a slot."""
        call = next(self._ids)
        if self._connection is None or self.ended.is_set():
            pending.fail(self._ending())
            return call
        self._calls[call] = pending
        self._connection.send(kind, call, body, buffers)
        return call

    async def ask(self, kind: Kind, payload: Any) -> Any:
        """Send a call that takes no slot (load, unload) and return its result."""
        pending = Pending(None)
        call = self.begin(kind, pending, dump(payload))
        try:
            return (await pending.future).payload()
        except asyncio.CancelledError:
            self.cancel(call)
            raise

    def more(self, kind: Kind, call: int, body: bytes, buffers: messages.Buffers | None = None) -> None:
        """Send something that belongs to a running call."""
        if self._connection is not None and call in self._calls:
            self._connection.send(kind, call, body, buffers)

    def cancel(self, call: int) -> None:
        """Tell the worker that nobody waits for a call; its slot is free once the worker says so."""
        self.more(Kind.CANCEL, call, dump(None))

    def running_call(self, call: int) -> bool:
        """Whether the worker has not yet answered a call."""
        return call in self._calls

    # --- inside ---------------------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        kind = frame.kind
        if kind is Kind.RESULT or kind is Kind.ERROR:
            self._settle(frame)
        elif kind is Kind.STREAM_ITEM:
            if isinstance(stream := self._calls.get(frame.call), PendingStream):
                stream.items.put_nowait(frame)
        elif kind is Kind.STREAM_CREDIT:
            if isinstance(stream := self._calls.get(frame.call), PendingStream):
                for _ in range(frame.payload()):
                    stream.credit.release()
        elif kind is Kind.RELEASE:
            assert self._connection is not None  # it has just received something
            self._connection.release(frame.call)
        elif kind is Kind.LOG:
            logs.write(frame.payload(), self.number)
        elif kind is Kind.RECORD:
            self._record(*frame.payload())
        elif kind is Kind.STARTED and not self._started.done():
            self._started.set_result(None)

    def _settle(self, frame: Frame) -> None:
        pending = self._calls.pop(frame.call, None)
        if pending is None:
            if frame.kind is Kind.ERROR and not self._started.done():
                self._fail_start(load_error(frame.payload()[0]))
            return
        pending.settle(frame)
        if pending.slot is not None:
            self.running[pending.slot] -= 1
            self._on_free()

    def _on_lost(self) -> None:
        """The connection is gone; the process has just ended, or is about to."""
        if self._child is None or self._child.exited.done():
            self._end()
            return
        asyncio.get_running_loop().call_later(SLOW_EXIT, self._child.kill)

    def _on_exit(self, _: asyncio.Future[int]) -> None:
        """The process is gone. The connection follows, unless another process inherited it."""
        if self._connection is None or self._connection.closed:
            self._end()
        else:
            asyncio.get_running_loop().call_later(LAST_WORDS, self._connection.abort)

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        self._fail_start(self._ending())
        calls, self._calls = self._calls, {}
        for pending in calls.values():
            pending.fail(self._ending())  # each its own, for an error collects the frames that it passes
        self._on_ended(self)

    def _fail_start(self, error: MLSrvError) -> None:
        if not self._started.done():
            self._started.set_exception(error)
            self._started.exception()  # marks it as seen: the start may have been given up

    def _ending(self) -> WorkerEnded:
        exited = self._child is not None and self._child.exited.done()
        status = self._child.exited.result() if self._child is not None and exited else None
        self.reason = self.reason or f"The worker process ended unexpectedly ({describe_exit(status)})."
        return WorkerEnded(self.reason)
