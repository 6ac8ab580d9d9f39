"""Watched models in a kernel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen

import mlsrv_drift.plugin
import mlsrv_workers.plugin
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput
from mlsrv_drift.monitor import Monitor
from mlsrv_drift.monitors import Monitors

SECONDS = 60


class Sums(MLModel):
    """Answers with the sum of each row, and then overwrites the request."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = np.asarray(payload.inputs[0].data, np.float64).reshape(payload.inputs[0].shape)
        sums = values.reshape(len(values), -1).sum(axis=1)
        payload.inputs[0].data[:] = 0
        return InferenceResponse(outputs=[ResponseOutput("sum", [len(sums)], "FP64", sums)])


@frozen
class Watched:
    """A kernel with one watched model."""

    kernel: Kernel

    @property
    def monitor(self) -> Monitor:
        found = self.kernel.shared.get(Monitors, Monitors).find("m", None)
        assert found is not None
        return found

    async def ask(self, values: Any) -> InferenceResponse:
        """Ask the model, with one row or several."""
        return await self.kernel.infer(tensor_request("m", np.array(values)))

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the report is as it should be, and return it."""
        async with asyncio.timeout(SECONDS):
            while not holds(self.monitor.report):
                await asyncio.sleep(0.01)
        return self.monitor.report

    async def windows(self, count: int, part: str = "inputs") -> dict[str, Any]:
        """Wait until so many windows are compared, and return the report of the part."""
        report = await self.until(lambda found: found["parts"][part]["windows"] >= count)
        found: dict[str, Any] = report["parts"][part]
        return found


@pytest.fixture
def watch(tmp_path: Path) -> Any:
    """Makes a kernel whose model `m` is watched; keywords are its settings."""

    @asynccontextmanager
    async def make(
        *others: ModelSettings, implementation: Any = Sums, server: Any = None, **settings: Any
    ) -> AsyncIterator[Watched]:
        chosen = {"drift_learn": 200, "drift_window": 100, **settings}
        model = ModelSettings(name="m", implementation=implementation, drift_enabled=True, **chosen)
        values = {"drift_dir": str(tmp_path / "drift"), "parallel_workers": 0, **(server or {})}
        plugins = [mlsrv_drift.plugin, mlsrv_workers.plugin]
        async with Kernel(values, models=[model, *others], plugins=plugins, discover=False) as kernel:
            await kernel.loaded()
            assert kernel.ready, kernel.problems()
            yield Watched(kernel)

    return make
