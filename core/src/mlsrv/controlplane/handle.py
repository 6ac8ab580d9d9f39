"""ModelHandle: one version of one model as the control plane knows it, loaded or not."""

from __future__ import annotations

import asyncio
from typing import Any

from mlsrv.dataplane.instance import Instance
from mlsrv.dataplane.statistics import Statistics
from mlsrv.errors import MLSrvError, ModelNotReady
from mlsrv.interceptor import Duration
from mlsrv.placement import ModelInfo
from mlsrv.settings import ModelSettings
from mlsrv.telemetry.error_details import ErrorDetails
from mlsrv_protocol.types import State


class ModelHandle:
    """One version of one model.

    Attributes:
        name, version: what it is called.
        state: see `mlsrv_protocol.types.State`.
        full_reason: why it is UNAVAILABLE, or why its last reload failed; else empty.
        failure: the error that `full_reason` ends with, if it is one.
        verification: what a check of the files of its instance found, a sentence; empty without one.
        settings: the latest settings, or None if the repository could not even describe it.
        wanted: whether the server counts as ready only with it: it was loaded, or should have been at the
            start, and was not unloaded since.
        instance: what answers requests, or None.
        statistics: what it has done so far, over all its instances.
        lock: held while it is loaded or unloaded.
    """

    def __init__(self, name: str, version: str | None, details: ErrorDetails | None = None) -> None:
        self.name = name
        self.version = version
        self.state = State.UNAVAILABLE
        self.full_reason = ""
        self.failure: MLSrvError | None = None
        self.verification = ""
        self._details = details or ErrorDetails()
        self.settings: ModelSettings | None = None
        self.wanted = False
        self.instance: Instance | None = None
        self.statistics = Statistics()
        self.lock = asyncio.Lock()

    @property
    def label(self) -> str:
        """Its name, with its version if it has one."""
        return self.name if self.version is None else f"{self.name} version {self.version}"

    @property
    def reason(self) -> str:
        """Why it is UNAVAILABLE, or why its last reload failed, as clients are told; else empty."""
        if self.failure is None:
            return self.full_reason
        told = self._details.told(self.failure)
        if told is self.failure:
            return self.full_reason
        if str(self.failure) in self.full_reason:
            return self.full_reason.replace(str(self.failure), str(told))
        return str(told)

    @reason.setter
    def reason(self, reason: str) -> None:
        self.full_reason, self.failure = reason, None

    @property
    def remark(self) -> str:
        """The remark of the index: `reason`, or what a check of the files of its instance found."""
        return self.reason or (self.verification if self.instance is not None else "")

    @property
    def info(self) -> ModelInfo | None:
        """The description that the loaded model gives of itself, or None."""
        return self.instance.placement.info if self.instance else None

    @property
    def ready(self) -> bool:
        """True if it answers requests now."""
        return self.problem is None

    @property
    def problem(self) -> str | None:
        """Why it does not answer now, as clients are told, or None."""
        return self._problem(self.reason)

    @property
    def full_problem(self) -> str | None:
        """Why it does not answer now, with all details, for the operator; or None."""
        return self._problem(self.full_reason)

    def _problem(self, reason: str) -> str | None:
        if self.instance is None or self.state is not State.READY:
            return reason or f"its state is {self.state.value}"
        return self.instance.placement.problem

    def statistics_plain(self) -> dict[str, Any]:
        """Its statistics in the form of the statistics extension."""
        more: dict[str, Duration] = {}
        for interceptor in self.instance.interceptors if self.instance is not None else ():
            more |= interceptor.statistics()
        return self.statistics.to_plain(self.name, self.version, more)

    def loaded(self) -> Instance:
        """The live instance. Raises `ModelNotReady`."""
        if self.instance is None:
            raise ModelNotReady.of(self.name, self.version, self.state.value, self.reason)
        return self.instance
