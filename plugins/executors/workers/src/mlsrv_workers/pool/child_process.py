"""Child process: an operating-system process whose exit the event loop observes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence


class ChildProcess:
    """A running process, observed through a file descriptor of its own.

    Other code that waits for child processes, or keeps its sockets open, does not interfere.

    Attributes:
        pid: process id.
        exited: the exit status (negative: the signal), once the process has ended.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._popen = process
        self._waiter: asyncio.Task[None] | None = None
        self._watch()

    @classmethod
    def start(
        cls, command: Sequence[str], descriptors: Sequence[int], variables: Mapping[str, str]
    ) -> ChildProcess:
        """Start a process that inherits some descriptors.

        Called in the thread of the event loop, though it takes milliseconds: Linux ends the process with the
        thread that started it, and other threads may end before the server does.

        Raises:
            OSError: the process cannot be started.
        """
        return cls(
            subprocess.Popen(
                command,
                pass_fds=descriptors,
                env=variables,
                stdin=subprocess.DEVNULL,
                # By it what the process starts is ended with it. No session: Linux shares processors
                # out among sessions, and one for each worker delays requests on a busy machine.
                process_group=0,
            )
        )

    def kill(self) -> None:
        """Kill the process. Idempotent."""
        if not self.exited.done():
            self._popen.kill()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        if not hasattr(os, "pidfd_open"):
            self._waiter = loop.create_task(self._wait())
            return
        descriptor = os.pidfd_open(self.pid)

        def on_exit() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._end_group()  # before its id can be that of another process
            self._set_status(self._popen.wait())

        loop.add_reader(descriptor, on_exit)

    async def _wait(self) -> None:
        status = await asyncio.to_thread(self._popen.wait)
        self._end_group()
        self._set_status(status)

    def _end_group(self) -> None:
        """Kill what the process has started and left behind, such as forks of a model."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # it left nothing

    def _set_status(self, status: int) -> None:
        if not self.exited.done():
            self.exited.set_result(status)
