"""Worker process: the server's view of one process and of the calls that it runs."""

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
from mlsrv_workers.environments import shared_packages
from mlsrv_workers.environments.environments import Environment
from mlsrv_workers.ipc import log_forwarding, serialization
from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.failures import WorkerEnded, describe_exit, load_error
from mlsrv_workers.ipc.frames import STREAM_WINDOW, Frame, FrameKind, dump
from mlsrv_workers.ipc.shared_memory import create_shared_file
from mlsrv_workers.pool.child_process import ChildProcess
from mlsrv_workers.pool.slot import Slot
from mlsrv_workers.worker import boot
from mlsrv_workers.worker.plugin_specs import PluginSpecs

logger = logging.getLogger("mlsrv.workers")

START_TIMEOUT = 120.0
"""Seconds in which a new process must have imported its plugins."""

DRAIN_SECONDS = 0.1
"""Seconds to read the last frames of an ended process whose connection another process keeps open."""

EXIT_TIMEOUT = 2.0
"""Seconds in which a process must end after it has closed its connection."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@frozen
class LaunchSpec:
    """Description of how the worker processes of a pool are started.

    Attributes:
        plugins: the plugins that they load.
        settings: settings of the server, as plain data.
        threads: limit for the threads of numeric libraries, unless environment variables set their own.
        shared_memory: bytes of shared memory for each direction.
        record: called with values of metrics: (fields of the metric, value, labels).
        environment: the Python environment of the models; None is the server's own.
        path: ``sys.path`` of a process in the server's own environment.
    """

    plugins: PluginSpecs
    settings: Mapping[str, Any]
    threads: int
    shared_memory: int
    record: Callable[[tuple[Any, ...], float, tuple[str, ...]], None]
    environment: Environment | None = None
    path: tuple[str, ...] = field(factory=lambda: tuple(entry or os.getcwd() for entry in sys.path))

    def command(self, *descriptors: int) -> list[str]:
        """Return the command line of the process."""
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
        """Return the environment variables of the process."""
        values = {name: str(self.threads) for name in _THREAD_VARIABLES} | dict(os.environ)
        if self.environment is not None:
            executables = str(Path(self.environment.folder) / "bin")
            values["PATH"] = os.pathsep.join(filter(None, (executables, values.get("PATH"))))
        return values

    def _plan(self) -> dict[str, Any]:
        """Return the import plan that `mlsrv_workers.worker.boot` describes."""
        if self.environment is None:
            return {"path": self.path, "sites": (), "pinned": {}, "newest": {}, "fallback": {}, "folders": ()}
        return {
            "path": None,
            "sites": self.environment.sites,
            "pinned": shared_packages.folders((*shared_packages.PINNED, *self.plugins.packages)),
            "newest": shared_packages.newest(),
            "fallback": shared_packages.folders(shared_packages.FALLBACK),
            "folders": self._code_folders(),
        }

    def _code_folders(self) -> list[str]:
        """Return the folders of code that is not installed: the working directory and that of the models."""
        root = self.settings.get("model_repository_root") or "."
        return [entry for entry in self.path if entry in (os.getcwd(), os.path.abspath(root))]


class PendingCall:
    """A call that was sent to a worker and is not yet answered.

    Attributes:
        slot: the kind of slot that it takes; None for loads and unloads.
        context: context of the request, if there is one.
        future: the last frame of the answer.
    """

    def __init__(self, slot: Slot | None, context: CallContext | None = None) -> None:
        self.slot = slot
        self.context = context
        self.future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

    def settle(self, frame: Frame) -> None:
        """Set the result from the last frame."""
        if frame.kind is FrameKind.ERROR:
            error, spans = frame.payload()
            if self.context is not None:
                serialization.load_timeline(spans, self.context)
            self.fail(load_error(error))
        elif not self.future.done():
            self.future.set_result(frame)

    def fail(self, error: MLSrvError) -> None:
        """Fail the call, because no answer will come."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # marks it as retrieved: the caller may be gone


class PendingStream(PendingCall):
    """A stream that was sent to a worker and has not ended.

    Attributes:
        items: the response frames, then None.
        credit: number of further requests that may be sent before the worker has read the earlier ones.
    """

    def __init__(self, slot: Slot, context: CallContext) -> None:
        super().__init__(slot, context)
        self.items: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.credit = asyncio.Semaphore(STREAM_WINDOW)
        self.future.add_done_callback(lambda _: self.items.put_nowait(None))


class WorkerProcess:
    """A running process and its calls.

    Attributes:
        models: ids of the placements that are loaded in it.
        pid: process id.
        running: number of running calls, by `Slot`.
        catching_up: lock that is held while models are loaded that the other workers have.
        ended: set once the process has ended.
        reason: the reason of its end, a sentence.
    """

    def __init__(
        self, number: int, on_free: Callable[[], None], on_ended: Callable[[WorkerProcess], None]
    ) -> None:
        self.number = number
        self.models: set[int] = set()
        self.running = [0] * len(Slot)
        self.pid = 0
        self.catching_up = asyncio.Lock()
        self.ended = asyncio.Event()
        self.reason = ""
        self._on_free = on_free
        self._on_ended = on_ended
        self._calls: dict[int, PendingCall] = {}
        self._ids = itertools.count(1)
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process: ChildProcess | None = None
        self._connection: Connection | None = None
        self._record: Callable[[tuple[Any, ...], float, tuple[str, ...]], None] = lambda *_: None

    # --- lifetime -------------------------------------------------------------------------------------------

    async def start(self, launch: LaunchSpec) -> None:
        """Start the process and wait until it accepts loads.

        Raises:
            MLSrvError: it does not start; it has ended then.
        """
        self._record = launch.record
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

    def kill(self, reason: str = "") -> None:
        """Kill the process. Its calls fail with `reason`."""
        self.reason = self.reason or reason
        if self._process is not None:
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
            return (await pending.future).payload()
        except asyncio.CancelledError:
            self.cancel(call)
            raise

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

    # --- inside ---------------------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        kind = frame.kind
        if kind is FrameKind.RESULT or kind is FrameKind.ERROR:
            self._settle(frame)
        elif kind is FrameKind.STREAM_ITEM:
            if isinstance(stream := self._calls.get(frame.call), PendingStream):
                stream.items.put_nowait(frame)
        elif kind is FrameKind.STREAM_CREDIT:
            if isinstance(stream := self._calls.get(frame.call), PendingStream):
                for _ in range(frame.payload()):
                    stream.credit.release()
        elif kind is FrameKind.RELEASE:
            assert self._connection is not None  # a frame came from it
            self._connection.release(frame.call)
        elif kind is FrameKind.LOG:
            log_forwarding.handle_record(frame.payload(), self.number)
        elif kind is FrameKind.RECORD:
            self._record(*frame.payload())
        elif kind is FrameKind.STARTED and not self._started.done():
            self._started.set_result(None)

    def _settle(self, frame: Frame) -> None:
        pending = self._calls.pop(frame.call, None)
        if pending is None:
            if frame.kind is FrameKind.ERROR and not self._started.done():
                self._fail_start(load_error(frame.payload()[0]))
            return
        pending.settle(frame)
        if pending.slot is not None:
            self.running[pending.slot] -= 1
            self._on_free()

    def _on_lost(self) -> None:
        """Handle the loss of the connection: the process has just ended, or is about to."""
        if self._process is None or self._process.exited.done():
            self._end()
            return
        asyncio.get_running_loop().call_later(EXIT_TIMEOUT, self._process.kill)

    def _on_exit(self, _: asyncio.Future[int]) -> None:
        """Handle the end of the process. The connection closes next, unless another process inherited it."""
        if self._connection is None or self._connection.closed:
            self._end()
        else:
            asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._connection.abort)

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        self._fail_start(self._ended_error())
        calls, self._calls = self._calls, {}
        for pending in calls.values():
            pending.fail(self._ended_error())  # one error each: raising adds to its traceback
        self._on_ended(self)

    def _fail_start(self, error: MLSrvError) -> None:
        if not self._started.done():
            self._started.set_exception(error)
            self._started.exception()  # marks it as retrieved: the start may have been cancelled

    def _ended_error(self) -> WorkerEnded:
        exited = self._process is not None and self._process.exited.done()
        status = self._process.exited.result() if self._process is not None and exited else None
        self.reason = self.reason or f"The worker process ended unexpectedly ({describe_exit(status)})."
        return WorkerEnded(self.reason)
