"""Model meter: the metrics of the kernel itself, of each model and of all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from time import monotonic_ns

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded
from mlsrv.interceptor import StreamNext
from mlsrv.telemetry.kernel_metrics import (
    DURATION,
    FAILURE,
    PHASE,
    REJECTED,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    SUCCESS,
)
from mlsrv.utils import closing
from mlsrv_hosting_kit.timeline import Timeline
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_protocol.workload import size_in_turns
from mlsrv_telemetry_kit.meters import Meters
from mlsrv_telemetry_kit.metrics import Recorder, RowRecorder

_SECOND = 1e-9


class ModelMeter:
    """Records the requests of one model.

    Args:
        meters: of the kernel, at least one.
        name, version: of the model.
    """

    def __init__(self, meters: Meters, name: str, version: str | None) -> None:
        self._meters = meters
        self._labels = labels = (name, version or "")
        self._success = meters.bind(SUCCESS, labels)
        self._failure = meters.bind(FAILURE, labels)
        self._duration = meters.bind(DURATION, labels)
        self._received = meters.bind(REQUEST_BYTES, labels)
        self._sent = meters.bind(RESPONSE_BYTES, labels)
        self._phases: dict[str, Recorder] = {}
        for phase in ("predict", "decode", "encode"):
            self._bind(phase)
        self._rows: dict[tuple[str, ...], RowRecorder] = {}

    def answered(self, timeline: Timeline | None, ns: int, received: int, sent: int) -> None:
        """A request of `received` bytes got its answer of `sent` bytes after so many nanoseconds."""
        if timeline is not None and len(timeline.spans) == 1:  # as mostly
            [(phase, begin, end)] = timeline.spans
            record = self._rows.get((phase,)) or self._bind_row((phase,))
            record((1.0, received, sent, ns * _SECOND, (end - begin) * _SECOND))
            return
        phases = {} if timeline is None else timeline.durations()
        record = self._rows.get(tuple(phases)) or self._bind_row(tuple(phases))
        record((1.0, received, sent, ns * _SECOND, *[spent * _SECOND for spent in phases.values()]))

    def failed(self, error: BaseException, context: CallContext, ns: int, received: int) -> None:
        """A request of `received` bytes failed after so many nanoseconds."""
        self._received(received)
        self._failed(error, context)
        self._measured(context.timeline, ns)

    def refused(self, error: MLSrvError) -> None:
        """A request was not let in."""
        self._failure(1.0)
        self._rejected(reason_of(error))

    async def stream(
        self, inner: StreamNext, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        """Record a stream, which `inner` answers."""
        began = monotonic_ns()
        try:
            async with closing(inner(self._counted(requests), context)) as responses:
                async for response in responses:
                    self._sent(await size_in_turns(response.outputs))
                    yield response
        except GeneratorExit:  # the client has had enough
            self._success(1.0)
            raise
        except BaseException as error:
            self._failed(error, context)
            raise
        else:
            self._success(1.0)
        finally:
            self._measured(context.timeline, monotonic_ns() - began)

    async def _counted(self, requests: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceRequest]:
        async for request in requests:
            self._received(await size_in_turns(request.inputs))
            yield request

    def _failed(self, error: BaseException, context: CallContext) -> None:
        self._failure(1.0)
        if isinstance(error, MLSrvError):
            self._rejected(reason_of(error))
        elif isinstance(error, asyncio.CancelledError):
            late = context.deadline is not None and time.monotonic() >= context.deadline
            self._rejected(_label(Code.DEADLINE_EXCEEDED if late else Code.CANCELLED))
        else:
            self._rejected(_label(Code.INTERNAL))

    def _rejected(self, reason: str) -> None:
        self._meters.record(REJECTED, 1.0, (*self._labels, reason))

    def _measured(self, timeline: Timeline | None, ns: int) -> None:
        self._duration(ns * _SECOND)
        if timeline is None:
            return
        for phase, spent in timeline.durations().items():
            record = self._phases.get(phase) or self._bind(phase)
            record(spent * _SECOND)

    def _bind(self, phase: str) -> Recorder:
        record = self._phases[phase] = self._meters.bind(PHASE, (*self._labels, phase))
        return record

    def _bind_row(self, phases: tuple[str, ...]) -> RowRecorder:
        own = [(metric, self._labels) for metric in (SUCCESS, REQUEST_BYTES, RESPONSE_BYTES, DURATION)]
        row = [*own, *((PHASE, (*self._labels, phase)) for phase in phases)]
        record = self._rows[phases] = self._meters.bind_row(row)
        return record


def reason_of(error: MLSrvError) -> str:
    """The label of requests that got this error."""
    return error.reason if isinstance(error, Overloaded) else _label(error.code)


def _label(code: Code) -> str:
    return code.value.lower()
