"""Handler: answers one record through the kernel, however often that takes, or says why it cannot."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, TooLarge
from mlsrv.kernel_api import Access, KernelAPI
from mlsrv.telemetry.request_logging import printable, reported
from mlsrv.utils import closing
from mlsrv_kafka.answers import AnswerWriter
from mlsrv_kafka.outbox import Outbox
from mlsrv_kafka.partition import Record
from mlsrv_kafka.record_metrics import RecordMetrics
from mlsrv_kafka.records import Outgoing, RawHeaders
from mlsrv_kafka.requests import Asked, RequestReader
from mlsrv_kafka.settings import KafkaSettings
from mlsrv_kafka.topics import filled
from mlsrv_kafka.verdicts import Attempts, Verdict
from mlsrv_protocol.types import InferenceResponse
from mlsrv_protocol.workload import is_large

logger = logging.getLogger("mlsrv.kafka")

_UNCONFIRMED: Final = 16
"""Responses of one stream that are handed over before the first of them is confirmed."""


class RecordHandler:
    """Answers records; belongs to the event loop.

    Each record that it begins with is settled in the end: done with, when its answer or its error record is
    confirmed, or abandoned, when its partition is given up or the server stops.

    Args:
        kernel: answers the requests.
        settings: of the transport.
        reader, writer: of requests and answers.
        outbox: takes what is to be written.
        settle: is told that a record is done with (True) or abandoned (False); from any thread.
        metrics: counts.
    """

    def __init__(
        self,
        kernel: KernelAPI,
        settings: KafkaSettings,
        reader: RequestReader,
        writer: AnswerWriter,
        outbox: Outbox,
        settle: Callable[[Record, bool], None],
        metrics: RecordMetrics,
    ) -> None:
        self._kernel = kernel
        self._settings = settings
        self._reader = reader
        self._writer = writer
        self._outbox = outbox
        self._settle = settle
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()

    async def __call__(self, record: Record) -> None:
        """Answer a record. Raises nothing but the cancellation of its task."""
        record.partition.begun += 1
        attempts: Attempts | None = None
        try:
            while True:
                context: CallContext | None = None
                try:
                    asked = self._reader.read_at_once(record) or await self._reader.read(record)
                    context = asked.context
                    if asked.streams:
                        await self._stream(record, asked)
                    else:
                        response = await self._kernel.infer(asked.request, context)
                        topic = self._topic_of(record, asked, response)
                        if is_large(response, as_text=True):
                            written = await asyncio.to_thread(self._writer.answer, record, asked, response)
                        else:
                            written = self._writer.answer(record, asked, response)
                        self._send_answer(record, asked, topic, *written)
                    return
                except Exception as error:
                    problem = reported(error, context or CallContext())
                if attempts is None:
                    attempts = Attempts(self._settings.kafka_retries, self._settings.kafka_not_ready_timeout)
                if not await self._tries_again(record, attempts, problem, context):
                    return
        except BaseException as error:
            self._abandon(record)
            if not isinstance(error, asyncio.CancelledError):
                logger.exception("The record %s was left unanswered", record.source)
            raise

    async def _tries_again(
        self, record: Record, attempts: Attempts, problem: MLSrvError, context: CallContext | None
    ) -> bool:
        """Wait, and return whether to try again; otherwise that was the end of the record."""
        verdict, pause = attempts.judge(problem, context)
        if verdict is Verdict.FAIL:
            self._fail(record, problem, context)
            return False
        self._metrics.retried(record, problem.code.name)
        await asyncio.sleep(pause)
        if record.partition.revoked:
            self._abandon(record)
            return False
        return True

    def _topic_of(self, record: Record, asked: Asked, response: InferenceResponse) -> str:
        """Return the topic for a response; the trace of the request becomes that of the writing."""
        topic = filled(self._settings.kafka_topic_output, response.model_name, response.model_version)
        if record.observation is not None:
            asked.context.trace = record.observation.sending(topic)
        return topic

    def _send_answer(
        self, record: Record, asked: Asked, topic: str, value: bytes, headers: RawHeaders
    ) -> None:
        if record.partition.lost:
            self._abandon(record)
            return
        context = asked.context
        self._outbox.send(
            Outgoing(
                topic,
                _key(record, context),
                value,
                headers,
                partial(self._done, record),
                partial(self._refused, record, context),
            )
        )
        self._metrics.answered(record)
        self._note(record, context, "OK")

    # --- streams ------------------------------------------------------------------------------------------

    async def _stream(self, record: Record, asked: Asked) -> None:
        """Write each response of a model, and an end mark. What fails after the first response ends the
        stream: its reader knows the numbers of what it has."""
        name, version = asked.request.model_name, asked.request.model_version
        unconfirmed: deque[asyncio.Future[None]] = deque()
        sequence, problem = 0, None
        try:
            async with closing(self._kernel.stream(asked.request, asked.context)) as responses:
                async for response in responses:
                    name, version = response.model_name, response.model_version
                    if len(unconfirmed) == _UNCONFIRMED:
                        await unconfirmed.popleft()
                    unconfirmed.append(await self._deliver(record, asked, response, sequence))
                    sequence += 1
            while unconfirmed:
                await unconfirmed.popleft()
        except Exception as error:
            if not sequence:
                raise
            problem = reported(error, asked.context)
        for left in unconfirmed:
            left.cancel()
        end = InferenceResponse(name, [], version, asked.context.request_id)
        confirmed = await self._deliver(record, asked, end, sequence, problem)
        if problem is None:
            await confirmed
            self._done(record)
            self._metrics.answered(record)
            self._note(record, asked.context, "OK")
        else:
            self._fail(record, problem, asked.context, sequence)

    async def _deliver(
        self,
        record: Record,
        asked: Asked,
        response: InferenceResponse,
        sequence: int,
        error: MLSrvError | None = None,
    ) -> asyncio.Future[None]:
        """Hand a response of a stream over. Returns a future that is done when it is confirmed; its error is
        that the response can never be written."""
        future: asyncio.Future[None] = self._loop.create_future()
        topic = self._topic_of(record, asked, response)
        if is_large(response, as_text=True):
            value, headers = await asyncio.to_thread(
                self._writer.answer, record, asked, response, sequence, error
            )
        else:
            value, headers = self._writer.answer(record, asked, response, sequence, error)

        def refused(reason: str) -> None:
            if not future.done():
                future.set_exception(TooLarge(f"The response cannot be written to {topic}: {reason}"))

        self._outbox.send(
            Outgoing(
                topic,
                _key(record, asked.context),
                value,
                headers,
                partial(_resolve, future),
                refused,
            )
        )
        return future

    # --- failures -----------------------------------------------------------------------------------------

    def _refused(self, record: Record, context: CallContext, reason: str) -> None:
        self._fail(record, TooLarge(f"The answer cannot be written: {reason}"), context)

    def _fail(
        self, record: Record, error: MLSrvError, context: CallContext | None, sequence: int | None = None
    ) -> None:
        """Send a record to the error topic, or skip it."""
        if record.partition.lost:
            self._abandon(record)
            return
        topic, code = self._settings.kafka_topic_errors, error.code.name
        self._metrics.failed(record, code, topic is None)
        self._note(record, context, code)
        if topic is None:
            logger.warning(
                "The record %s is skipped, for it cannot be answered: %s",
                record.source,
                printable(str(error), 500),
            )
            self._done(record, error)
            return
        if record.observation is not None:
            record.observation.sending(topic)
        request_id = None if context is None else context.request_id
        headers = self._writer.error(record, error, request_id, sequence)
        self._send_error(topic, record, error, record.value, headers)

    def _send_error(
        self, topic: str, record: Record, error: MLSrvError, value: bytes | None, headers: RawHeaders
    ) -> None:
        def refused(reason: str) -> None:
            if value is None:
                logger.error(
                    "The record %s is skipped: %s does not take it: %s", record.source, topic, reason
                )
                self._done(record, error)
                return
            omitted: RawHeaders = [*headers, ("mlsrv-value-omitted", reason.encode("utf-8", "replace"))]
            self._send_error(topic, record, error, None, omitted)

        delivered = partial(self._done, record, error)
        self._outbox.send(Outgoing(topic, record.key, value, headers, delivered, refused, record.timestamp))

    # --- the end of a record ------------------------------------------------------------------------------

    def _done(self, record: Record, error: MLSrvError | None = None) -> None:
        """A record is done with: its answer is confirmed, or it will have none."""
        if record.observation is not None:
            record.observation.done(error)
        self._settle(record, True)

    def _abandon(self, record: Record) -> None:
        """A record is left to others."""
        if record.observation is not None:
            record.observation.abandoned()
        self._settle(record, False)

    def _note(self, record: Record, context: CallContext | None, status: str) -> None:
        log = self._kernel.access
        if log is not None:
            log.note(Access("kafka", record.source, status, monotonic() - record.taken, context=context))


def _key(record: Record, context: CallContext) -> bytes:
    """Return the key of an answer: that of its record, else the id of the request, as with MLServer."""
    return context.request_id.encode("utf-8", "replace") if record.key is None else record.key


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
