"""Process: one process of a server, started, asked, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mlsrv_cli.processes.channel import Channel
from mlsrv_transport_kit.metric_sums import Family

logger = logging.getLogger("mlsrv.cli")

_COMMAND = (sys.executable, "-P", "-m", "mlsrv_cli", "start")


class Process:
    """One running process, as the supervisor knows it.

    Args:
        number: of its place, from 1.
        joined: whether it takes part in control calls from the start.
        asked: answers a question of it: a topic and an argument.
        told: takes what it tells of itself.

    Attributes:
        number: as above.
        joined: whether it takes part in control calls.
        state: what it last told of itself; None before that.
        metrics: its metrics, when they were last asked for.
        listens: set once it takes requests.
        ended: its exit code (negative: the signal) once it has ended.
    """

    def __init__(
        self,
        number: int,
        joined: bool,
        asked: Callable[[Process, str, Any], Awaitable[Any]],
        told: Callable[[Process, Any], None],
    ) -> None:
        self.number = number
        self.joined = joined
        self.state: dict[str, Any] | None = None
        self.metrics: Sequence[Family] = ()
        self.listens = asyncio.Event()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.channel = Channel(
            lambda topic, argument: asked(self, topic, argument),
            lambda topic, value: told(self, value),
        )
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, arguments: Sequence[str]) -> None:
        """Start it, in a session of its own: keys of a terminal are for the supervisor alone.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                f"--member={theirs.fileno()}:{self.number}:{'early' if self.joined else 'late'}",
                *arguments,
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        await self.channel.open(ours)
        self._tasks = [asyncio.create_task(self.channel.run()), asyncio.create_task(self._wait())]

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def send_signal(self, number: int) -> None:
        """Send it a signal; none if it has ended."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self, seconds: float) -> int:
        """Ask it to stop, and kill it if it does not within that time. Returns the exit code.

        One that has told nothing yet has nothing to finish, and is ended at once.
        """
        if self.state is None:
            await self.kill()
            return 0
        self.channel.tell("stop")
        try:
            return await asyncio.wait_for(asyncio.shield(self.ended), seconds)
        except TimeoutError:
            logger.error("Process %d (%d) does not stop and is killed", self.number, self.pid)
            return await self.kill()

    async def listening_or_ended(self) -> None:
        """Wait until it takes requests, or has ended."""
        listening: asyncio.Future[bool] = asyncio.ensure_future(self.listens.wait())
        either: set[asyncio.Future[Any]] = {listening, self.ended}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listening.cancel()

    async def kill(self) -> int:
        """End it at once. Returns the exit code."""
        if self._process is not None and not self.ended.done():
            self._process.kill()
        return await asyncio.shield(self.ended)

    async def _wait(self) -> None:
        assert self._process is not None
        self.ended.set_result(await self._process.wait())
