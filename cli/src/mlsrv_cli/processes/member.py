"""Member: one of several processes of a server, with a kernel that answers for all of them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from mlsrv.controlplane.handle import ModelHandle
from mlsrv.errors import MLSrvError, ServerNotReady
from mlsrv.kernel import Kernel
from mlsrv.types import RepositoryIndexResponseItem, State
from mlsrv_cli.console import FirstReporter, Reporter, SilentReporter
from mlsrv_cli.processes.channel import Channel
from mlsrv_cli.signals import StopSignals, end
from mlsrv_transport_kit.metric_sums import Family
from mlsrv_transport_kit.siblings import Siblings

STATE_SECONDS = 0.2
"""Seconds between two looks at the state of this process, which its siblings are told when it changes."""


class Member(Siblings):
    """The siblings of this process, reached through the supervisor.

    Args:
        number: of this process, from 1.
        end: this end of the connection to the supervisor.
        late: whether the server serves already; then this process loads its models before it listens.
        stop: is asked to stop when the supervisor says so, or has ended.
    """

    share_ports = True

    def __init__(self, number: int, end: socket.socket, late: bool, stop: StopSignals) -> None:
        super().__init__()
        self.number = number
        self.late = late
        self.are_there = late or number > 1
        self._end = end
        self._stop = stop
        self._kernel: MemberKernel | None = None
        self._channel = Channel(self._asked, self._told)
        self._joined = asyncio.Event()
        self._listening = False
        self._state: dict[str, Any] | None = None
        self._others: Mapping[str, Mapping[str, Any]] = {}
        self._news = asyncio.Event()
        if not late:
            self._joined.set()

    # --- life ---------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def connected(self, kernel: Kernel) -> AsyncIterator[None]:
        """Connect a kernel, which is running, with the others; entered once it may listen."""
        assert isinstance(kernel, MemberKernel)
        self._kernel = kernel
        await self._channel.open(self._end)
        talking = asyncio.create_task(self._talk())
        preparing = asyncio.create_task(self._prepare())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not self._stop.requested:
                await preparing
            yield
        finally:
            tasks = (talking, preparing, stopping)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self) -> None:
        """Talk with the supervisor until that ends; then stop, at once if a stop has begun already."""
        telling = asyncio.create_task(self._keep_telling())
        try:
            await self._channel.run()
        finally:
            telling.cancel()
        if self._stop.requested:
            end(1, wait=0.5)
        self._stop.request()

    async def _prepare(self) -> None:
        """Learn the ports of the others; if these serve already, load the models first, as they have them."""
        if self.are_there:
            self.ports = await self._channel.ask("ports")
        if not self.late:
            return
        kernel = self._own
        await kernel.loaded()
        for name, version, operation in await self._channel.ask("join"):
            try:
                await self._control([name, version], operation, anew=False)
            except MLSrvError:
                continue  # the state of the model has the reason
        self._joined.set()
        self._tell_state()  # it is ready from its first connection on

    def reporter(self, inner: Reporter) -> Reporter:
        """Return what reports for this process: the first one of a start does."""
        return FirstReporter(inner) if self.number == 1 and not self.late else SilentReporter()

    def listening(self) -> None:
        """Note that this process takes requests."""
        self._listening = self.are_there = True
        self._tell_state()

    async def settled(self) -> None:
        """Wait until no process loads the models of its start any more."""
        while not all(other["loaded"] for other in self._others.values()):
            self._news.clear()
            await self._news.wait()

    # --- what the others are asked --------------------------------------------------------------------------

    async def ask(self, topic: str, argument: Any = None) -> Sequence[Any]:
        return cast("list[Any]", await self._channel.ask("each", [topic, argument]))

    async def sum_metrics(self, own: Sequence[Family]) -> Sequence[Family]:
        return cast("list[Family]", await self._channel.ask("metrics", own))

    async def control(self, operation: str, name: str, version: str | None) -> None:
        """Load or unload a model in every process; one such call for a model runs at a time."""
        await self._channel.ask(operation, [name, version])

    def problems(self) -> list[str]:
        """Why the others are not ready, or this process is not known to be, one sentence each."""
        is_known = self._state is not None and self._state["loaded"]
        own = [] if is_known else [f"Process {self.number}: It is starting."]
        return own + [
            f"Process {number}: {problem}"
            for number, other in self._others.items()
            for problem in other["problems"]
        ]

    def problem_of(self, handle: ModelHandle) -> str | None:
        """Why another process does not answer requests to a model, or None."""
        for number, other in self._others.items():
            if other["models"].get(handle.label) is not None:
                return f"process {number}: {other['models'][handle.label]}"
        return None

    # --- what this process is asked -------------------------------------------------------------------------

    async def _asked(self, topic: str, argument: Any) -> Any:
        try:
            if topic in ("load", "unload"):
                await self._joined.wait()
                return await self._control(argument, topic)
            if topic == "index":
                found = await Kernel.index(self._own, argument)
                return [[item.name, item.version, item.state.value, item.reason] for item in found]
            if topic == "statistics":
                return Kernel.statistics(self._own, *argument)
            if topic not in self.answers:
                raise ServerNotReady(f"Process {self.number} does not listen yet.")
            return await self.answers[topic](argument)
        finally:
            self._tell_state()  # before the answer, which so finds the others knowing the state that it made

    async def _control(self, argument: Sequence[Any], operation: str, anew: bool = True) -> None:
        name, version = argument
        kernel = self._own
        if operation == "unload":
            await Kernel.unload(kernel, name, version)
        elif anew or not _is_ready(kernel, name, version):
            await Kernel.load(kernel, name, version)

    def _told(self, topic: str, value: Any) -> None:
        if topic == "stop":
            self._stop.request()
        elif topic == "others":
            self._others = value
            self.are_there = self.are_there or bool(value)
            self._news.set()

    async def _keep_telling(self) -> None:
        while True:
            self._tell_state()
            await asyncio.sleep(STATE_SECONDS)

    def _tell_state(self) -> None:
        kernel = self._own
        state = {
            "listening": self._listening,
            "ports": self.ports,
            "loaded": not kernel.is_loading,
            "problems": Kernel.problems(kernel),
            "models": {model.label: model.problem for model in kernel.registry if model.problem is not None},
        }
        if state != self._state:
            self._state = state
            self._channel.tell("state", state)

    @property
    def _own(self) -> MemberKernel:
        if self._kernel is None:
            raise ServerNotReady(f"Process {self.number} is starting.")
        return self._kernel

    @classmethod
    def of(cls, option: str, stop: StopSignals) -> Member:
        """Return the process that the option ``--member`` describes: ``DESCRIPTOR:NUMBER:early|late``."""
        descriptor, number, when = option.split(":")
        _number_records(int(number))
        return cls(int(number), socket.socket(fileno=int(descriptor)), when == "late", stop)


class MemberKernel(Kernel):
    """A kernel whose views of models, and whose control of them, are those of all processes.

    Args:
        member: this process.
        arguments: those of `Kernel`.
    """

    def __init__(self, member: Member, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.member = member
        self.shared.get(Siblings, lambda: member)

    @property
    def is_loading(self) -> bool:
        """True while the models of the start are being loaded."""
        return self._control is None or self._control.loading is not None

    def problems(self) -> list[str]:
        return super().problems() + ([] if self.stopping else self.member.problems())

    def handle(self, name: str, version: str | None = None) -> ModelHandle:
        found = super().handle(name, version)
        elsewhere = self.member.problem_of(found)
        if elsewhere is None or not found.ready:
            return found
        return cast("ModelHandle", _Unready(found, elsewhere))

    async def index(self, ready: bool | None = None) -> list[RepositoryIndexResponseItem]:
        own = await super().index()
        others = await self.member.ask("index")
        known = {(item.name, item.version): item for item in own}
        for process in others:
            for name, version, state, reason in process:
                item = known.get((name, version))
                if item is None or (item.state is State.READY and state != State.READY.value):
                    known[name, version] = RepositoryIndexResponseItem(
                        name=name, version=version, state=State(state), reason=reason
                    )
        found = [known[key] for key in sorted(known, key=lambda key: (key[0], key[1] or ""))]
        if ready is None:
            return found
        serving = await self._serving_everywhere()
        return [item for item in found if ((item.name, item.version) in serving) is ready]

    async def _serving_everywhere(self) -> Collection[tuple[str, str | None]]:
        serving = {(item.name, item.version) for item in await super().index(True)}
        for process in await self.member.ask("index", True):
            serving &= {(name, version) for name, version, _, _ in process}
        return serving

    async def load(self, name: str, version: str | None = None) -> list[ModelHandle]:
        await self.member.control("load", name, version or None)
        return [handle for handle in self.registry.versions(name) if version in (None, "", handle.version)]

    async def unload(self, name: str, version: str | None = None) -> None:
        await self.member.control("unload", name, version or None)


class _Unready:
    """A model that answers here, and not in another process."""

    def __init__(self, handle: ModelHandle, problem: str) -> None:
        self._handle = handle
        self.problem = self.full_problem = problem
        self.ready = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


def _number_records(number: int) -> None:
    """Have each log record of this process say which of the processes it is."""
    make = logging.getLogRecordFactory()

    def numbered(*arguments: Any, **keywords: Any) -> logging.LogRecord:
        record = make(*arguments, **keywords)
        record.server_process = number
        return record

    logging.setLogRecordFactory(numbered)


def _is_ready(kernel: Kernel, name: str, version: str | None) -> bool:
    try:
        return Kernel.handle(kernel, name, version).ready
    except MLSrvError:
        return False
