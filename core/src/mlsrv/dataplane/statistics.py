"""Statistics: counts requests and time of each version of a model.

Source: Triton's "Statistics Extension".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from mlsrv.context import CallContext
from mlsrv.interceptor import CallNext, Duration
from mlsrv_protocol.types import InferenceRequest, InferenceResponse


def rows_of(request: InferenceRequest) -> int:
    """Return the rows of a request: the first dimension of its first input, and at least 1."""
    inputs = request.inputs
    if not inputs:
        return 1
    shape = inputs[0].shape
    rows = shape[0] if shape else 1
    return rows if type(rows) is int and rows > 0 else max(1, int(rows))


@define(eq=False)
class Statistics:
    """Counts for one version of a model; they live on when it is reloaded.

    Attributes:
        success, fail: requests, from their arrival to their answer.
        rows: rows of the requests that succeeded, as `rows_of` counts them.
        execution: calls of the model that succeeded, with everything that it does for them. A batch is one.
        last_inference: when the last request was answered, in milliseconds since the epoch.
    """

    success: Duration = field(factory=Duration)
    fail: Duration = field(factory=Duration)
    execution: Duration = field(factory=Duration)
    rows: int = 0
    last_inference: int = 0

    def answered(self, ns: int, rows: int = 1, executed: bool = False) -> None:
        """Count a request that got its answer.

        Args:
            ns: nanoseconds from its arrival.
            rows: its rows.
            executed: whether it was an execution of its own, which nothing else counts.
        """
        success = self.success
        success.count += 1
        success.ns += ns
        if executed:
            self.execution.count += 1
            self.execution.ns += ns
        self.rows += rows
        self.last_inference = time.time_ns() // 1_000_000

    def failed(self, ns: int) -> None:
        """A request failed after so many nanoseconds."""
        self.fail.add(ns)

    def measured(self, infer: CallNext) -> CallNext:
        """The same function, each call of it counted as an execution."""
        execution = self.execution

        async def call(request: InferenceRequest, context: CallContext) -> InferenceResponse:
            started = time.perf_counter_ns()
            response = await infer(request, context)
            execution.add(time.perf_counter_ns() - started)
            return response

        return call

    def to_plain(self, name: str, version: str | None, more: Mapping[str, Duration]) -> dict[str, Any]:
        """The extension's form.

        Decoding and encoding happen inside the model and so count as ``compute_infer``. What a request spent
        outside of an execution is ``queue``; requests of one batch share an execution, so that this is exact
        only for models that are not batched.

        Args:
            name, version: of the model.
            more: what interceptors counted: ``cache_hit`` and ``cache_miss``.
        """
        requests, executions = self.success.count, self.execution.count
        each = self.execution.ns / executions if executions else 0.0
        in_model = requests - more.get("cache_hit", Duration()).count
        nothing = {"count": executions, "ns": 0}
        return {
            "name": name,
            "version": version or "1",  # clients read a number here, where there is no version too
            "last_inference": self.last_inference,
            "inference_count": self.rows,
            "execution_count": executions,
            "inference_stats": {
                "success": self.success.to_plain(),
                "fail": self.fail.to_plain(),
                "queue": {"count": requests, "ns": max(0, int(self.success.ns - each * in_model))},
                "compute_input": nothing,
                "compute_infer": self.execution.to_plain(),
                "compute_output": nothing,
                "cache_hit": more.get("cache_hit", Duration()).to_plain(),
                "cache_miss": more.get("cache_miss", Duration()).to_plain(),
            },
            "response_stats": {},
            "batch_stats": [],
            "memory_usage": [],
        }
