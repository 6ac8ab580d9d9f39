"""An operating-system process of ours, and the news of its end."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence


class Child:
    """A running process, watched by the event loop through a descriptor of its own: whoever else waits for
    children, or keeps its sockets open, changes nothing.

    Attributes:
        pid: of the process.
        exited: its exit status (negative: the signal), once it has ended.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._process = process
        self._waiting: asyncio.Task[None] | None = None
        self._watch()

    @classmethod
    def start(cls, command: Sequence[str], descriptors: Sequence[int], variables: Mapping[str, str]) -> Child:
        """Start a process that inherits some descriptors. Raises OSError if that fails.

        The call is made in the thread of the event loop, though it takes milliseconds: with the death of this
        very thread Linux ends the process, and other threads may end before the server does.
        """
        return cls(subprocess.Popen(command, pass_fds=descriptors, env=variables, stdin=subprocess.DEVNULL))

    def kill(self) -> None:
        """End the process at once. Idempotent."""
        if not self.exited.done():
            self._process.kill()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        if not hasattr(os, "pidfd_open"):
            self._waiting = loop.create_task(self._wait())
            return
        descriptor = os.pidfd_open(self.pid)

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._set(self._process.wait())

        loop.add_reader(descriptor, ended)

    async def _wait(self) -> None:
        self._set(await asyncio.to_thread(self._process.wait))

    def _set(self, status: int) -> None:
        if not self.exited.done():
            self.exited.set_result(status)
