"""What the kernel itself measures, of each model and of all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded
from mlsrv.interceptor import CallNext, Interceptor, Phase, StreamNext
from mlsrv.meters import Meters
from mlsrv.metric_table import (
    DURATION,
    FAILURE,
    IN_FLIGHT,
    MODEL_READY,
    MODEL_STATE,
    PHASE,
    REJECTED,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    SUCCESS,
)
from mlsrv.metrics import Recorder
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput, State

if TYPE_CHECKING:
    from mlsrv.kernel import Kernel
    from mlsrv.timeline import Timeline

_SECOND = 1e-9
_WORD = 8


class ModelMeter(Interceptor):
    """Records the requests of one model: the outermost interceptor, if there is a meter.

    Args:
        meters: of the kernel, at least one.
        name, version: of the model.
    """

    phase: ClassVar[Phase] = Phase.OBSERVE
    observes: ClassVar[bool] = True

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

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        began = monotonic_ns()
        self._received(payload_bytes(request.inputs))
        try:
            response = await call_next(request, context)
        except BaseException as error:
            self._failed(error, context)
            raise
        else:
            self._success(1.0)
            self._sent(payload_bytes(response.outputs))
            return response
        finally:
            self._measured(began, context.timeline)

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        began = monotonic_ns()
        responses = call_next(self._counted(requests), context)
        try:
            async for response in responses:
                self._sent(payload_bytes(response.outputs))
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
            if (close := getattr(responses, "aclose", None)) is not None:
                await close()
            self._measured(began, context.timeline)

    def refused(self, error: MLSrvError) -> None:
        self._failure(1.0)
        self._rejected(reason_of(error))

    async def _counted(self, requests: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceRequest]:
        async for request in requests:
            self._received(payload_bytes(request.inputs))
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

    def _measured(self, began: int, timeline: Timeline | None) -> None:
        self._duration((monotonic_ns() - began) * _SECOND)
        if timeline is None:
            return
        for phase, ns in timeline.durations().items():
            record = self._phases.get(phase) or self._bind(phase)
            record(ns * _SECOND)

    def _bind(self, phase: str) -> Recorder:
        record = self._phases[phase] = self._meters.bind(PHASE, (*self._labels, phase))
        return record


def reason_of(error: MLSrvError) -> str:
    """The label of requests that got this error."""
    return error.reason if isinstance(error, Overloaded) else _label(error.code)


def _label(code: Code) -> str:
    return code.value.lower()


def payload_bytes(tensors: Sequence[RequestInput | ResponseOutput]) -> float:
    """Bytes of the data of tensors: of texts their characters, of other lists eight for each element."""
    size = 0
    for tensor in tensors:
        size += _size(tensor.data)
    return float(size)


def _size(data: Any) -> int:
    if isinstance(data, np.ndarray):
        return data.nbytes
    try:
        return sum(map(len, data))
    except TypeError:  # numbers have no length
        return len(data) * _WORD if hasattr(data, "__len__") else _WORD


def watch_models(kernel: Kernel) -> None:
    """Show the state of all models of a kernel, and what they have to do."""

    def in_flight() -> Iterator[tuple[Sequence[str], float]]:
        for handle in kernel.registry:
            if handle.instance is not None:
                yield (handle.name, handle.version or ""), float(handle.instance.in_flight)

    def ready() -> Iterator[tuple[Sequence[str], float]]:
        for handle in kernel.registry:
            if handle.wanted:
                yield (handle.name, handle.version or ""), float(handle.ready)

    def states() -> Iterable[tuple[Sequence[str], float]]:
        return [
            ((handle.name, handle.version or "", state.value), float(handle.state is state))
            for handle in kernel.registry
            for state in State
        ]

    kernel.metrics.watch(IN_FLIGHT, in_flight)
    kernel.metrics.watch(MODEL_READY, ready)
    kernel.metrics.watch(MODEL_STATE, states)
