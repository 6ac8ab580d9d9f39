"""Sending: many records to one model, several at a time; the answers come in the order of the records."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from attrs import evolve, frozen

from mlsrv_cli.infer.joining import join, kind_of, rows_of, split
from mlsrv_cli.infer.reading import Record
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError
from mlsrv_protocol.errors import Code, MLSrvError
from mlsrv_protocol.inference import InferenceRequest, InferenceResponse
from mlsrv_protocol.metadata import MetadataTensor

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_AHEAD = 4
_LATER = (Code.OVERLOADED, Code.NOT_READY)
"""A server may answer later."""
_OF_THE_RECORD = (Code.INVALID_ARGUMENT, Code.TOO_LARGE, Code.DEADLINE_EXCEEDED, Code.INTERNAL)
"""The next request may fare better."""
_REFUSED = (401, 403, "UNAUTHENTICATED", "PERMISSION_DENIED")

Answer: TypeAlias = tuple[Record, InferenceResponse | str]
"""A record with its response, or with the sentence that says why there is none."""


@frozen
class Sender:
    """Sends records to one model.

    Attributes:
        client: an `AsyncClient` without retries of its own.
        model: its name.
        version: of the model, or None.
        outputs: names of the outputs to ask for, or None for all.
        as_json: send JSON over HTTP in place of binary tensors.
        batch: records that may become one request.
        parallel: requests at a time.
        streams: ask for streams; the answers of a record are its responses.
        retries: further attempts of a request that the server could not take.
        retried: called with the reason before each of them.
    """

    client: Any
    model: str
    version: str | None = None
    outputs: Sequence[str] | None = None
    as_json: bool = False
    batch: int = 1
    parallel: int = 4
    streams: bool = False
    retries: int = 5
    retried: Callable[[MLSrvError], None] = lambda error: None

    async def declared(self) -> list[MetadataTensor]:
        """Return the inputs that the model declares; none where the server cannot be asked for them, as over
        Kafka.

        Raises:
            MLSrvError: as `answers`.
        """
        try:
            metadata = await self._patiently(lambda: self.client.model_metadata(self.model, self.version))
        except ServerError as error:
            if error.code is Code.UNIMPLEMENTED:
                return []
            raise
        return list(metadata.inputs)

    async def answers(self, records: Iterator[Record]) -> AsyncIterator[Answer]:
        """Yield the answer for each record, in order.

        Records are read in a thread, at most some requests ahead of the answers.

        Raises:
            MLSrvError: the server cannot be reached, does not have the model, or refuses everything.
        """
        running = asyncio.Semaphore(self.parallel)
        waiting: asyncio.Queue[asyncio.Task[list[Answer]] | None] = asyncio.Queue(_AHEAD * self.parallel)
        groups = _groups(records, self.batch)
        tasks: set[asyncio.Task[list[Answer]]] = set()

        async def send(group: list[Record]) -> list[Answer]:
            async with running:
                return await self._answers_of(group)

        async def feed() -> None:
            try:
                while (group := await _in_thread(lambda: next(groups, None))) is not None:
                    task = asyncio.create_task(send(group))
                    tasks.add(task)
                    await waiting.put(task)
            except Exception:  # not when it is cancelled: then there is no reader, and there may be no room
                await waiting.put(None)
                raise
            await waiting.put(None)

        feeding = asyncio.create_task(feed())
        try:
            while (task := await waiting.get()) is not None:
                for answer in await task:
                    yield answer
                tasks.discard(task)  # one that failed before its turn is awaited below
            await feeding
        finally:
            for left in (feeding, *tasks):
                left.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(feeding, *tasks, return_exceptions=True)

    async def _answers_of(self, group: list[Record]) -> list[Answer]:
        requests = [record.request for record in group if record.request is not None]
        if not requests:
            return [(record, f"{record.place}: {record.problem}") for record in group]
        if self.streams:
            return await self._responses(group[0], requests[0])
        try:
            response = await self._infer(join(requests))
        except MLSrvError as error:
            if not _of_the_record(error):
                raise
            if len(group) == 1:
                return [(group[0], f"{group[0].place}: {error}")]
            return await self._one_by_one(group)
        if len(group) == 1:
            return [(group[0], response)]
        parts = split(response, [rows_of(request) or 1 for request in requests])
        if parts is None:
            return await self._one_by_one(group)
        return [
            (record, evolve(part, id=None if record.request is None else record.request.id))
            for record, part in zip(group, parts, strict=True)
        ]

    async def _responses(self, record: Record, request: InferenceRequest) -> list[Answer]:
        """Return the responses of a stream; where it fails, those before the failure, and the reason."""
        found: list[Answer] = []
        try:
            async for result in self.client.stream(
                self.model, request, version=self.version, outputs=self.outputs, as_json=self.as_json
            ):
                found.append((record, result.response))
        except MLSrvError as error:
            if not _of_the_record(error):
                raise
            found.append((record, f"{record.place}: {error}"))
        return found

    async def _one_by_one(self, group: list[Record]) -> list[Answer]:
        """Send each alone: one of them is at fault, or the outputs have no row for each."""
        return [answer for record in group for answer in await self._answers_of([record])]

    async def _infer(self, request: InferenceRequest) -> InferenceResponse:
        result = await self._patiently(
            lambda: self.client.infer(
                self.model,
                request,
                version=self.version,
                outputs=self.outputs,
                as_json=self.as_json,
                repeatable=True,
            )
        )
        response: InferenceResponse = result.response
        return response

    async def _patiently(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call, again while the server is away or has no room, `retries` times at most."""
        left, pause = self.retries, _FIRST_PAUSE
        while True:
            try:
                return await call()
            except (ConnectionFailed, ServerError) as error:
                later = isinstance(error, ConnectionFailed) or error.code in _LATER
                if not left or not later:
                    raise
                asked = error.retry_after if isinstance(error, ServerError) else None
                self.retried(error)
            left -= 1
            await asyncio.sleep(min(pause if asked is None else asked, _LONGEST_PAUSE))
            pause *= 2


async def _in_thread(call: Callable[[], T]) -> T:
    """Run a call in a thread of its own, which an interrupted program does not wait for: it may read a
    terminal or a pipe."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(T, result))

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="mlsrv-infer-reader", daemon=True).start()
    return await future


def _of_the_record(error: MLSrvError) -> bool:
    """Return whether the next record may fare better."""
    return error.code in _OF_THE_RECORD and getattr(error, "status", None) not in _REFUSED


def _groups(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    """Yield records that may be joined, in order, at most `size` each; a full group does not wait."""
    group: list[Record] = []
    kind: Any = None
    for record in records:
        request = record.request
        found = None
        if size > 1 and request is not None and rows_of(request) is not None:
            found = kind_of(request)
        if group and found != kind:
            yield group
            group = []
        group.append(record)
        kind = found
        if found is None or len(group) == size:
            yield group
            group = []
    if group:
        yield group
