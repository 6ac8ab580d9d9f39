"""Tap: the interceptor that hands copies of requests and answers to a monitor."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import evolve

from mlsrv.context import CallContext
from mlsrv.errors import ModelLoadError
from mlsrv.interceptor import CallNext, Interceptor, Phase
from mlsrv.kernel_api import KernelAPI
from mlsrv.threads import run_in_own_thread
from mlsrv_drift.columns import Cut, cut
from mlsrv_drift.monitor import Monitor, Subject
from mlsrv_drift.monitors import Monitors
from mlsrv_drift.settings import DriftSettings
from mlsrv_drift.state_file import StateFile
from mlsrv_drift.stream_detector import made
from mlsrv_drift.table_file import read
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlsrv_transport_kit import siblings_of


class Tap(Interceptor):
    """Copies what a model gets and answers, outside of everything else, so that answers from a cache count.

    Requests that fail, streams and custom handlers are not looked at.

    Args:
        kernel: whose model is watched.
        subject: what is watched; the reference sample is read when the tap is entered.
        monitors: all of this kernel.

    Attributes:
        monitor: where the copies go; there once the tap is entered.
    """

    phase: ClassVar[Phase] = Phase.OBSERVE
    infer_only: ClassVar[bool] = True

    monitor: Monitor

    def __init__(self, kernel: KernelAPI, subject: Subject, monitors: Monitors) -> None:
        self._kernel = kernel
        self._subject = subject
        self._monitors = monitors
        self._key = subject.model, subject.version

    async def __aenter__(self) -> Tap:
        """Begin to watch.

        Raises:
            ModelLoadError: the reference sample cannot be used, or several processes serve the model.
            ConfigurationError: the detector of single values is not installed.
        """
        if siblings_of(self._kernel).share_ports:
            raise ModelLoadError(
                f"Model {self._subject.model} cannot be watched for drift by several processes, each of "
                "which would see its share alone: set processes to 1, or drift_enabled to false."
            )
        self.monitor = await run_in_own_thread(self._enter)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await run_in_own_thread(self._monitors.leave, self._key)

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        monitor = self.monitor
        inputs = self._cut(request.inputs) if monitor.wants() else None
        response = await call_next(request, context)
        if inputs is not None:
            outputs = self._cut(response.outputs)
            if outputs is not None:
                monitor.put(inputs, outputs)
        return response

    def _cut(self, tensors: list[RequestInput] | list[ResponseOutput]) -> list[Cut] | None:
        try:
            return cut(tensors)
        except Exception as error:  # what a model answers may be anything, and is answered all the same
            self.monitor.note_failure(error)
            return None

    def _enter(self) -> Monitor:
        subject = self._subject
        settings = subject.settings
        if settings.drift_stream is not None:
            made(settings.drift_stream)
        if settings.drift_reference is not None:
            subject = evolve(subject, table=read(subject.model, Path(settings.drift_reference)))
        folder = Path(self._kernel.settings.of(DriftSettings).drift_dir)

        def make() -> Monitor:
            file = StateFile(folder, subject.model, subject.version)
            return Monitor(subject, self._kernel.metrics, file, self._monitors.wake)

        return self._monitors.enter(self._key, lambda found: found.subject.is_same(subject), make)
