"""Explanations of other models of the server: in the process, in workers, batched, and when they fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlsrv_batching.plugin
import mlsrv_numpy.plugin
import mlsrv_shap.plugin
import mlsrv_workers.plugin
from mlsrv import Kernel, ModelSettings
from mlsrv.context import CallContext
from mlsrv.errors import DeadlineExceeded, InferenceError, ModelFailed, ModelNotFound
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, RequestInput

PLUGINS = [mlsrv_batching.plugin, mlsrv_numpy.plugin, mlsrv_shap.plugin, mlsrv_workers.plugin]

MODELS = """
import asyncio
import numpy as np
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Product(MLModel):
    async def predict(self, payload):
        if len(payload.inputs) == 1:
            rows = np.asarray(payload.inputs[0].data, float).reshape(payload.inputs[0].shape)
        else:
            rows = np.column_stack([np.asarray(one.data, float) for one in payload.inputs])
        if rows[0, 0] == -99:
            raise ValueError("not this one")
        if rows[0, 0] == -98:
            await asyncio.sleep(60)
        value = rows[:, 0] * rows[:, 1] + 3 * rows[:, 2]
        scores = np.column_stack((value, -value))
        return InferenceResponse(outputs=[
            ResponseOutput("value", [len(rows)], "FP64", value),
            ResponseOutput("scores", [len(rows), 2], "FP64", scores.reshape(-1)),
            ResponseOutput("name", [len(rows)], "BYTES", ["x"] * len(rows)),
        ])
"""
BACKGROUND = np.random.default_rng(1).normal(size=(20, 3))
ROWS = np.random.default_rng(2).normal(size=(2, 3))


@pytest.fixture
def explained(tmp_path: Path) -> Any:
    """Makes a kernel with the model `product` and the model `why` that explains it."""

    @asynccontextmanager
    async def make(workers: int = 0, batch: int = 0, **extra: Any) -> AsyncIterator[Kernel]:
        (tmp_path / "products.py").write_text(MODELS, encoding="utf-8")
        np.save(tmp_path / "background.npy", BACKGROUND)
        batching = {"max_batch_size": batch, "max_batch_time": 0.01} if batch else {}
        product = ModelSettings(
            name="product",
            implementation="products.Product",
            source=tmp_path / "model-settings.json",
            **batching,
        )
        chosen = {"model": "product", "background": str(tmp_path / "background.npy"), **extra}
        why = ModelSettings(name="why", implementation="shap", parameters={"extra": chosen})
        settings = {"parallel_workers": workers}
        async with Kernel(settings, models=[product, why], plugins=PLUGINS, discover=False) as kernel:
            await kernel.loaded()
            yield kernel

    return make


def arrays(answer: Any) -> dict[str, Any]:
    return {output.name: np.asarray(output.data).reshape(output.shape) for output in answer.outputs}


def product(rows: Any) -> Any:
    return rows[:, 0] * rows[:, 1] + 3 * rows[:, 2]


@pytest.mark.parametrize("kind", ["permutation", "kernel"])
@pytest.mark.parametrize(("workers", "batch"), [(0, 0), (2, 0), (0, 64), (1, 64)])
async def test_values_add_up_wherever_the_model_runs(
    explained: Any, kind: str, workers: int, batch: int
) -> None:
    async with explained(workers, batch, explainer=kind) as kernel:
        answer = await kernel.infer(tensor_request("why", ROWS, id="7"))
        assert answer.id == "7"
        got = arrays(answer)
    expected = product(BACKGROUND).mean()
    assert got["expected_value"] == pytest.approx([expected])
    np.testing.assert_allclose(got["shap_values"].sum(axis=1) + expected, product(ROWS), atol=1e-6)
    np.testing.assert_allclose(  # the third feature is added, so that its contribution is known
        got["shap_values"][:, 2], 3 * (ROWS[:, 2] - BACKGROUND[:, 2].mean()), atol=1e-6
    )


async def test_an_output_is_chosen_and_has_a_third_axis(explained: Any) -> None:
    async with explained(output="scores") as kernel:
        got = arrays(await kernel.infer(tensor_request("why", ROWS)))
    assert got["shap_values"].shape == (2, 3, 2)
    np.testing.assert_allclose(got["shap_values"][:, :, 0], -got["shap_values"][:, :, 1], atol=1e-9)


async def test_columns_of_their_own(explained: Any) -> None:
    tensors = [RequestInput(name, [2], "FP64", ROWS[:, index]) for index, name in enumerate("abc")]
    async with explained() as kernel:
        got = arrays(await kernel.infer(InferenceRequest(tensors, model_name="why")))
        alike = arrays(await kernel.infer(tensor_request("why", ROWS)))
    np.testing.assert_allclose(got["shap_values"], alike["shap_values"])


async def test_two_explanations_at_a_time_are_those_of_each(explained: Any) -> None:
    async with explained() as kernel:
        together = await asyncio.gather(
            *(kernel.infer(tensor_request("why", ROWS[[index % 2]])) for index in range(8))
        )
        alone = arrays(await kernel.infer(tensor_request("why", ROWS)))["shap_values"]
    for index, answer in enumerate(together):
        np.testing.assert_allclose(arrays(answer)["shap_values"][0], alone[index % 2], atol=1e-9)


@pytest.mark.parametrize(
    ("extra", "rows", "error", "what"),
    [
        ({}, np.zeros((1, 2)), InferenceError, "background has 3"),
        ({}, np.zeros((0, 3)), InferenceError, "1 to 100 rows"),
        ({}, np.zeros((1, 3, 1)), InferenceError, "one matrix"),
        ({"output": "name"}, ROWS, InferenceError, "no table of numbers"),
        ({"output": "none"}, ROWS, InferenceError, "no output none"),
        ({"model": "nobody"}, ROWS, ModelNotFound, "nobody"),
        ({}, np.array([[-99.0, 0, 0]]), ModelFailed, "not this one"),
    ],
)
async def test_what_fails_says_why_and_the_server_goes_on(
    explained: Any, extra: Any, rows: Any, error: type[Exception], what: str
) -> None:
    async with explained(**extra) as kernel:
        with pytest.raises(error, match=what):
            await kernel.infer(tensor_request("why", rows))
        if not extra:
            assert (await kernel.infer(tensor_request("why", ROWS))).outputs


async def test_a_deadline_ends_an_explanation(explained: Any) -> None:
    async with explained() as kernel:
        request = tensor_request("why", np.array([[-98.0, 0, 0]]))
        with pytest.raises(DeadlineExceeded):
            await kernel.infer(request, CallContext(deadline=time.monotonic() + 0.5))
        assert (await kernel.infer(tensor_request("why", ROWS))).outputs


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ({"background": ""}, "parameters.extra.background"),
        ({"explainer": "tree"}, "one of auto, permutation, kernel"),
        ({"model": "why"}, "must name another model"),
        ({"model": 3}, "must name another model"),
    ],
)
async def test_settings_that_cannot_be(explained: Any, extra: Any, what: str) -> None:
    async with explained(**extra) as kernel:
        assert what in kernel.handle("why").reason
