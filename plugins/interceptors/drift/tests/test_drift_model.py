"""The model NAME-drift: answers in the form of MLServer's detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import mlsrv_drift.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.errors import InferenceError, ModelNotFound, ModelNotReady
from mlsrv.testing import tensor_request, text_request
from mlsrv.types import InferenceRequest, Parameters

REFERENCE = np.random.default_rng(21).normal(size=(300, 2))
BATCH = np.random.default_rng(22).normal(0.3, 1.0, size=(80, 2))
DETECTOR = ModelSettings(name="m-drift", implementation="drift")


@pytest.fixture
def reference(tmp_path: Path) -> str:
    np.save(tmp_path / "reference.npy", REFERENCE)
    return str(tmp_path / "reference.npy")


async def test_a_batch_is_compared_by_itself(watch: Any, reference: str) -> None:
    expected = [stats.ks_2samp(REFERENCE[:, index], BATCH[:, index]) for index in range(2)]
    settings = {"drift_reference": reference, "drift_correction": "none"}
    async with watch(DETECTOR, **settings) as watched:
        await watched.ask(REFERENCE[:1])
        await watched.until(lambda found: found["parts"]["inputs"]["state"] == "watching")
        request = tensor_request("m-drift", BATCH, id="7")
        answer = await watched.kernel.infer(request)
        request.parameters = Parameters(drift_type="feature")
        by_feature = await watched.kernel.infer(request)
        assert watched.monitor.report["rows"] == 1
    found = {output.name: output.data.tolist() for output in answer.outputs}
    assert answer.id == "7"
    assert found == {
        "is_drift": [int(any(one.pvalue < 0.05 for one in expected))],
        "distance": [one.statistic for one in expected],
        "p_val": [one.pvalue for one in expected],
        "threshold": [0.05],
    }
    assert answer.parameters is not None
    assert answer.parameters.headers == {
        "x-seldon-alibi-type": "drift",
        "x-seldon-alibi-method": "mlsrv-drift",
    }
    assert answer.parameters.get("detector_type") == "drift"
    first = by_feature.outputs[0]
    assert (first.shape, first.data.tolist()) == ([1, 2], [int(one.pvalue < 0.05) for one in expected])


async def test_without_inputs_the_latest_window_is_told(watch: Any, reference: str) -> None:
    async with watch(DETECTOR, drift_reference=reference, drift_window=80) as watched:
        with pytest.raises(ModelNotReady, match="no window is full yet"):
            await watched.kernel.infer(InferenceRequest([], model_name="m-drift"))
        await watched.ask(BATCH)
        part = await watched.windows(1)
        answer = await watched.kernel.infer(InferenceRequest([], model_name="m-drift"))
    found = {output.name: output.data.tolist() for output in answer.outputs}
    features = part["latest"]["features"]
    assert found["p_val"] == [one["corrected_p_value"] for one in features]
    assert found["is_drift"] == [int(part["latest"]["drift"])]


async def test_what_does_not_fit_is_refused(watch: Any, reference: str) -> None:
    async with watch(DETECTOR, drift_reference=reference) as watched:
        with pytest.raises(ModelNotReady, match="no reference yet"):
            await watched.kernel.infer(tensor_request("m-drift", BATCH))
        await watched.ask(REFERENCE[:1])
        await watched.until(lambda found: found["parts"]["inputs"]["state"] == "watching")
        for request, what in (
            (tensor_request("m-drift", np.zeros((5, 3))), "3 columns"),
            (tensor_request("m-drift", np.full((5, 2), np.nan)), "0 values that are not missing"),
            (tensor_request("m-drift", np.zeros((0, 2))), "0 values"),
            (text_request("m-drift", ["a", "b"]), "1 columns"),
        ):
            with pytest.raises(InferenceError, match=what):
                await watched.kernel.infer(request)
        request = tensor_request("m-drift", BATCH)
        request.parameters = Parameters(drift_type="nonsense")
        with pytest.raises(InferenceError, match="drift_type"):
            await watched.kernel.infer(request)
        assert (await watched.kernel.infer(tensor_request("m-drift", BATCH))).outputs


async def test_the_watched_model_must_be_there(watch: Any) -> None:
    others = [
        ModelSettings(name="none-drift", implementation="drift"),
        ModelSettings(name="own", implementation="drift", parameters={"extra": {"model": "own"}}),
    ]
    async with watch(*others) as watched:
        with pytest.raises(ModelNotFound):
            await watched.kernel.infer(tensor_request("none-drift", BATCH))
        with pytest.raises(ModelNotReady, match="drift_enabled"):
            await watched.kernel.infer(tensor_request("own", BATCH))


async def test_a_name_that_says_nothing_is_refused() -> None:
    model = ModelSettings(name="detector", implementation="drift")
    async with Kernel(models=[model], plugins=[mlsrv_drift.plugin], discover=False) as kernel:
        await kernel.loaded()
        assert "parameters.extra.model" in kernel.handle("detector").reason
