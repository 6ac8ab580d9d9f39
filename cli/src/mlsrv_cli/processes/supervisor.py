"""Supervisor: starts the processes of a server, replaces those that end, and passes on what concerns all."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from mlsrv.errors import ConfigurationError, MLSrvError, ServerNotReady
from mlsrv_cli.log_queue import LogQueue
from mlsrv_cli.processes.channel import ChannelEnded
from mlsrv_cli.processes.process import Process
from mlsrv_cli.signals import StopSignals
from mlsrv_transport_kit.metric_sums import Family, MetricSums

logger = logging.getLogger("mlsrv.cli")

ANSWER_SECONDS = 5.0
"""Seconds in which a process must answer what it is asked about itself."""

PAUSES = (0.1, 30.0)
"""The first and the longest pause before a process that ended is replaced, in seconds; each is twice the last
one, unless the process had lived for `STEADY_SECONDS`."""

STEADY_SECONDS = 30.0

STOP_MARGIN = 5.0
"""Seconds that a process gets to end beyond those after which it ends itself."""


class Supervisor:
    """Runs several processes as one server.

    Args:
        arguments: of ``mlsrv start``; the option ``--member`` is added.
        count: how many.
        stop: says when to stop.
        budget: seconds that a process may take to stop.
    """

    def __init__(self, arguments: Sequence[str], count: int, stop: StopSignals, budget: float) -> None:
        self._arguments = arguments
        self._count = count
        self._stop = stop
        self._budget = budget
        self._present: dict[int, Process] = {}
        self._all: set[Process] = set()
        self._missing: dict[int, str] = {}
        self._changes: dict[tuple[str, str | None], str] = {}
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._ended_metrics = MetricSums()
        self._ports: dict[str, int] = {}
        self._steady = False
        self._rolling = asyncio.Lock()
        self._failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        """Serve until a stop is asked for, or a process cannot start. Returns the exit code."""
        keeping = asyncio.create_task(self._keep_all())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            either: set[asyncio.Future[Any]] = {stopping, self._failed, keeping}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                await keeping  # it has failed
        finally:
            self._stop.request()
            keeping.cancel()
            stopping.cancel()
            await asyncio.gather(keeping, stopping, return_exceptions=True)
            codes = await asyncio.gather(
                *(process.stop(self._budget + STOP_MARGIN) for process in list(self._all))
            )
        if self._failed.done():
            return self._failed.result()
        return max((abs(code) for code in codes), default=0)

    def signal_all(self, number: int) -> None:
        """Send a signal to every process."""
        for process in list(self._all):
            if not process.ended.done():
                process.send_signal(number)

    async def roll(self) -> None:
        """Replace the processes one at a time: the next one serves before the present one stops."""
        async with self._rolling:
            for number in range(1, self._count + 1):
                old = self._present.get(number)
                if old is None or self._stop.requested:
                    continue
                try:
                    new = await self._start(number, late=True)
                except OSError as error:
                    logger.error("A new process %d cannot be started: %s", number, error.strerror)
                    return
                await new.listening_or_ended()
                if new.ended.done():
                    logger.error("A new process %d cannot start; the present ones go on", number)
                    return
                if old.ended.done():  # and is being replaced already
                    await new.stop(self._budget + STOP_MARGIN)
                    continue
                self._present[number] = new
                self._spread()
                await self._read_metrics(old)
                await old.stop(self._budget + STOP_MARGIN)
            logger.info("All %d processes were replaced", self._count)

    # --- their lives ----------------------------------------------------------------------------------------

    async def _keep_all(self) -> None:
        first = await self._start(1, late=False)
        self._present[1] = first
        await first.listening_or_ended()
        tasks = [self._keep(1)]
        if not first.ended.done():
            for number in range(2, self._count + 1):
                self._present[number] = await self._start(number, late=False)
                tasks.append(self._keep(number))
            pids = ", ".join(str(process.pid) for process in self._present.values())
            logger.info("Serving with %d processes: %s", self._count, pids)
        await asyncio.gather(*tasks)

    async def _keep(self, number: int) -> None:
        """Have a process at this place, whichever ends."""
        pause, loop = PAUSES[0], asyncio.get_running_loop()
        while True:
            process, began = self._present[number], loop.time()
            code = await asyncio.shield(process.ended)
            if self._present[number] is not process:
                continue  # it was replaced while it ran
            how = _describe(code)
            if not self._steady:
                if code < 0:
                    logger.error("Process %d (%d) %s while the server started", number, process.pid, how)
                self._fail(code if code > 0 else 1)
                return
            while True:
                self._missing[number] = f"It {how} and is being replaced."
                self._spread()
                if loop.time() - began > STEADY_SECONDS:
                    pause = PAUSES[0]
                logger.error("Process %d (%d) %s; it is replaced", number, process.pid, how)
                await asyncio.sleep(pause)
                pause = min(2 * pause, PAUSES[1])
                try:
                    self._present[number] = await self._start(number, late=True)
                    break
                except OSError as error:
                    how = f"cannot be started: {error.strerror}"

    def _fail(self, code: int) -> None:
        if not self._failed.done() and not self._stop.requested:
            self._failed.set_result(code)

    async def _start(self, number: int, *, late: bool) -> Process:
        process = Process(number, not late, self._asked, self._told)
        await process.start(self._arguments)
        self._all.add(process)
        process.ended.add_done_callback(lambda _: self._note_end(process))
        if self._stop.requested:
            await process.kill()  # it came too late to be told
        return process

    def _note_end(self, process: Process) -> None:
        self._all.discard(process)
        self._ended_metrics.add(process.metrics, ended=True)

    # --- what they say --------------------------------------------------------------------------------------

    def _told(self, process: Process, state: dict[str, Any]) -> None:
        """Note the state of a process, and tell it the others."""
        process.state = state
        if state["listening"]:
            self._ports |= state["ports"]
            process.listens.set()
            if self._present.get(process.number) is process:
                self._missing.pop(process.number, None)
        if not self._steady and len(self._present) == self._count:
            states = [each.state for each in self._present.values()]
            self._steady = all(each is not None and each["loaded"] and each["listening"] for each in states)
        self._spread()

    def _spread(self) -> None:
        """Tell each process the states of the others."""
        states: dict[int, dict[str, Any]] = {}
        for number in range(1, self._count + 1):
            present = self._present.get(number)
            state = None if present is None else present.state
            if number in self._missing:
                states[number] = {"problems": [self._missing[number]], "models": {}, "loaded": True}
            elif state is None:
                states[number] = {"problems": ["It is starting."], "models": {}, "loaded": False}
            else:
                states[number] = state
        for process in self._all:
            others = {str(number): state for number, state in states.items() if number != process.number}
            process.channel.tell("others", others)

    async def _asked(self, process: Process, topic: str, argument: Any) -> Any:
        """Answer a question of a process.

        Raises:
            MLSrvError: what the others answered.
        """
        if topic == "each":
            return await self._ask_others(process, *argument)
        if topic == "metrics":
            return await self._sum_metrics(process, argument)
        if topic == "ports":
            return self._ports
        if topic == "join":
            process.joined = True
            return [[name, version, done] for (name, version), done in self._changes.items()]
        if topic in ("load", "unload"):
            return await self._control(topic, *argument)
        raise MLSrvError(f"There is no question {topic}.")

    async def _ask_others(self, process: Process, topic: str, argument: Any) -> list[Any]:
        others = [each for each in self._present.values() if each is not process and not each.ended.done()]
        asked = [self._ask(each, topic, argument) for each in others if each.listens.is_set()]
        found = await asyncio.gather(*asked)
        return [answer for answer in found if answer is not None]

    async def _ask(self, process: Process, topic: str, argument: Any) -> Any:
        """Return the answer of a process, or None if it has ended meanwhile."""
        try:
            return await process.channel.ask(topic, argument, ANSWER_SECONDS)
        except ChannelEnded:
            return None
        except TimeoutError:
            raise ServerNotReady(f"Process {process.number} does not answer.") from None

    async def _sum_metrics(self, process: Process, own: Sequence[Family]) -> list[Family]:
        process.metrics = own
        others = [each for each in self._all if each is not process and each.listens.is_set()]
        await asyncio.gather(*(self._read_metrics(each) for each in others))
        sums = MetricSums()
        for each in (process, *others):
            if each in self._all:  # else it has ended meanwhile, and is among those below
                sums.add(each.metrics)
        sums.add(self._ended_metrics.families(), ended=True)
        return sums.families()

    async def _read_metrics(self, process: Process) -> None:
        """Read the metrics of a process; one that does not answer keeps those that it had, so that no sum
        shrinks."""
        try:
            process.metrics = await process.channel.ask("metrics", None, ANSWER_SECONDS)
        except (MLSrvError, TimeoutError) as error:
            logger.warning("Process %d does not give its metrics: %s", process.number, error)

    async def _control(self, operation: str, name: str, version: str | None) -> None:
        """Load or unload a model in every process, and note that for those which come later.

        Raises:
            MLSrvError: it failed in a process, which the sentence names if others succeeded.
        """
        async with self._locks[name]:
            before = dict(self._changes)
            if version is None:
                for key in [key for key in self._changes if key[0] == name]:
                    del self._changes[key]
            self._changes[name, version] = operation
            joined = [each for each in self._all if each.joined and not each.ended.done()]
            results = await asyncio.gather(
                *(each.channel.ask(operation, [name, version]) for each in joined), return_exceptions=True
            )
            failures = [
                (each, result)
                for each, result in zip(joined, results, strict=True)
                if isinstance(result, BaseException) and not isinstance(result, ChannelEnded)
            ]
            if not failures:
                return
            process, failure = failures[0]
            if len(failures) == len(joined):
                self._changes = before
                raise failure
            error = MLSrvError(f"Process {process.number}: {failure}")
            error.code = getattr(failure, "code", error.code)
            raise error


def serve(arguments: Sequence[str], count: int, stop: StopSignals, log: LogQueue) -> int:
    """Run several processes as one server until a signal stops them. Returns the exit code.

    Args:
        arguments: of ``mlsrv start``.
        count: of processes.
        stop: says when to stop; its budget is that of one process.
        log: its files are opened again on a signal.

    Raises:
        ConfigurationError: this system has no ports that processes share.
    """
    if not sys.platform.startswith("linux"):
        raise ConfigurationError(
            f"processes: {count} processes can share their ports on Linux only; leave it at 1 here."
        )
    return asyncio.run(_serve(arguments, count, stop, log))


async def _serve(arguments: Sequence[str], count: int, stop: StopSignals, log: LogQueue) -> int:
    supervisor = Supervisor(arguments, count, stop, stop.budget)
    stop.budget += 2 * STOP_MARGIN  # the processes end themselves before
    loop = asyncio.get_running_loop()

    def reopen(number: int) -> None:
        log.reopen()
        loop.call_soon_threadsafe(supervisor.signal_all, number)

    def roll() -> None:
        asyncio.run_coroutine_threadsafe(supervisor.roll(), loop)

    stop.attach()
    stop.actions = {
        signal.SIGHUP: lambda: reopen(signal.SIGHUP),
        signal.SIGUSR1: lambda: reopen(signal.SIGUSR1),
        signal.SIGUSR2: roll,
    }
    try:
        return await supervisor.run()
    finally:
        stop.actions = {}
        stop.detach()


def _describe(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
