"""Settings and errors of the alibi runtime."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from explained_models import TOO_MUCH
from tiny_explainers import ROWS

from mlsrv import Kernel, ModelSettings
from mlsrv.context import CallContext
from mlsrv.errors import (
    DeadlineExceeded,
    InferenceError,
    ModelAnswered,
    ModelFailed,
)
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, Parameters, RequestInput
from served import model, reason, served

SCORES = ModelSettings(name="scores", implementation="explained_models.Scores")


def explainer(folder: Path | str, kind: str = "anchor_tabular", **extra: Any) -> ModelSettings:
    return model(folder, "alibi-explain", {"explainer_type": kind, **extra})


@asynccontextmanager
async def kernel_of(*models: ModelSettings) -> AsyncIterator[Kernel]:
    async with Kernel({"executor": "inline"}, models=list(models)) as kernel:
        await kernel.loaded()
        yield kernel


def asking(rows: Any, **chosen: Any) -> InferenceRequest:
    request = tensor_request("m", rows)
    if chosen:
        request.parameters = Parameters(explain_parameters=chosen)
    return request


async def explained(kernel: Kernel, rows: Any, **chosen: Any) -> Any:
    answer = await kernel.infer(asking(rows, **chosen))
    return json.loads(answer.outputs[0].data[0])


async def test_the_explained_model_is_loaded_later(saved: Any) -> None:
    settings = explainer(saved("anchor_tabular"), model="scores")
    unloaded = ModelSettings(name="scores", implementation="explained_models.Scores")
    async with kernel_of(settings) as kernel:
        assert kernel.ready
        with pytest.raises(ModelAnswered, match="cannot be asked now: Model scores not found") as raised:
            await explained(kernel, ROWS[:1])
        assert raised.value.status == 503
    async with kernel_of(settings, unloaded) as kernel:
        await kernel.unload("scores")
        with pytest.raises(ModelAnswered, match="cannot be asked now"):
            await explained(kernel, ROWS[:1])
        await kernel.load("scores")
        assert (await explained(kernel, ROWS[:1]))["data"]["precision"] > 0.5


async def test_arguments_of_explain(saved: Any) -> None:
    async with kernel_of(explainer(saved("anchor_tabular"), model="scores"), SCORES) as kernel:
        found = await explained(kernel, ROWS[:1], threshold=0.6)
        assert found["meta"]["name"] == "AnchorTabular"
        request = asking(ROWS[:1])
        request.parameters = Parameters(explain_parameters="[1]")
        with pytest.raises(InferenceError, match="must be an object"):
            await kernel.infer(request)
        with pytest.raises(InferenceError, match="refuses the input"):
            await explained(kernel, ROWS[:1], beam_size="many")


async def test_wrong_inputs(saved: Any) -> None:
    async with kernel_of(explainer(saved("anchor_tabular"), model="scores"), SCORES) as kernel:
        with pytest.raises(InferenceError, match=r"refuses the input|3 features"):
            await explained(kernel, ROWS[:1, :2])
        with pytest.raises(InferenceError, match="has no rows"):
            await explained(kernel, ROWS[:0])
        texts = InferenceRequest([RequestInput("x", [1, 3], "BYTES", list("abc"))], model_name="m")
        with pytest.raises(InferenceError, match="explains numbers, not texts"):
            await kernel.infer(texts)
        assert await explained(kernel, ROWS[:1])


async def test_errors_of_the_explained_model_are_those_of_the_explanation(saved: Any) -> None:
    settings = explainer(saved("kernel_shap"), "kernel_shap", model="scores")
    async with kernel_of(settings, SCORES) as kernel:
        with pytest.raises(ModelFailed, match="not this one"):
            await explained(kernel, np.full((1, 3), TOO_MUCH), nsamples=16)
        context = CallContext.with_timeout(2.0)
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(kernel.infer(asking(np.full((1, 3), -TOO_MUCH)), context), 30)
        assert await explained(kernel, ROWS[:1], nsamples=16)


async def test_outputs_that_cannot_be_explained(saved: Any) -> None:
    for output in ("name", "nothing"):
        settings = explainer(saved("kernel_shap"), "kernel_shap", model="scores", infer_output=output)
        async with kernel_of(settings, SCORES) as kernel:
            with pytest.raises(InferenceError, match=output):
                await explained(kernel, ROWS[:1], nsamples=16)


async def test_an_infer_uri_that_cannot_be_reached_or_refuses(saved: Any, free_port: int) -> None:
    uri = f"http://127.0.0.1:{free_port}/v2/models/scores/infer"
    async with kernel_of(explainer(saved("kernel_shap"), "kernel_shap", infer_uri=uri)) as kernel:
        assert kernel.ready
        with pytest.raises(ModelAnswered, match="cannot be reached"):
            await explained(kernel, ROWS[:1], nsamples=16)
    async with served([SCORES], parallel_workers=0) as other:
        wrong = f"{other.rest}/v2/models/scoress/infer"
        async with kernel_of(explainer(saved("kernel_shap"), "kernel_shap", infer_uri=wrong)) as kernel:
            with pytest.raises(InferenceError, match="404"):
                await explained(kernel, ROWS[:1], nsamples=16)
        metadata = f"{other.rest}/v2/models/scores/ready"
        async with kernel_of(explainer(saved("kernel_shap"), "kernel_shap", infer_uri=metadata)) as kernel:
            with pytest.raises((InferenceError, ModelAnswered)):
                await explained(kernel, ROWS[:1], nsamples=16)


async def test_an_explainer_that_is_made(fitted: Path) -> None:
    forest = str(fitted / "forest.joblib")
    settings = ModelSettings(
        name="m",
        implementation="alibi-explain",
        parameters={
            "extra": {
                "explainer_type": "tree_partial_dependence_variance",
                "infer_uri": str(fitted / "curve.joblib"),
                "init_parameters": {"feature_names": ["a", "b", "c"]},
            }
        },
    )
    async with kernel_of(settings) as kernel:
        assert kernel.problems() == []
        found = await explained(kernel, ROWS[:8], grid_resolution=5)
        assert found["data"]["feature_names"] == ["a", "b", "c"]
    trees = {"explainer_type": "tree_shap", "infer_uri": forest, "init_parameters": {}}
    settings = ModelSettings(name="m", implementation="alibi-explain", parameters={"extra": trees})
    async with kernel_of(settings) as kernel:
        assert kernel.problems() == []
        assert np.shape((await explained(kernel, ROWS[:2]))["data"]["shap_values"]) == (2, 2, 3)


async def test_a_model_of_xgboost(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    path = tmp_path / "model.json"
    xgboost.XGBRegressor(n_estimators=3, max_depth=2).fit(ROWS, ROWS[:, 0]).save_model(path)
    from mlsrv_alibi_explain.explainer import fitted_model

    assert type(fitted_model("m", path, "TreeShap")).__name__ == "XGBRegressor"
    xgboost.XGBClassifier(n_estimators=3, max_depth=2).fit(ROWS, ROWS[:, 0] > 0).save_model(path)
    assert type(fitted_model("m", path, "TreeShap")).__name__ == "XGBClassifier"


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        ({"explainer_type": "anchor"}, "explainer_type is one of ale"),
        ({"explainer_typ": "ale"}, "explainer_typ is unknown"),
        ({"explainer_type": "ale"}, "name the model to explain"),
        ({"explainer_type": "ale", "model": "a", "infer_uri": "http://a"}, "name the model to explain"),
        ({"explainer_type": "ale", "model": "m"}, "must name another model"),
        ({"explainer_type": "ale", "infer_uri": "model.joblib"}, "must be the URL"),
        ({"explainer_type": "tree_shap", "model": "a"}, "looks into a fitted model"),
        ({"explainer_type": "tree_shap", "infer_uri": "nowhere.joblib", "init_parameters": {}}, "is no file"),
        (
            {"explainer_type": "tree_shap", "infer_uri": "s3://x/m", "init_parameters": {}},
            "is no file of this",
        ),
        ({"explainer_type": "ale", "model": "a", "init_parameters": {"x": 1}}, "cannot be made with"),
        (
            {"explainer_type": "integrated_gradients", "infer_uri": "m", "init_parameters": {}},
            "needs TensorFlow",
        ),
        (
            {"explainer_type": "ale", "infer_uri": "https://a", "ssl_verify_path": "/nowhere"},
            "as certificates",
        ),
    ],
)
async def test_wrong_settings(extra: dict[str, Any], match: str, tmp_path: Path) -> None:
    assert match in await reason(model(tmp_path, "alibi-explain", extra))


async def test_missing_and_damaged_artifacts(saved: Any, tmp_path: Path, fitted: Path) -> None:
    assert "is neither a file nor a folder" in await reason(explainer(tmp_path / "nowhere", model="a"))
    assert "is no folder with a saved explainer" in await reason(explainer(tmp_path, model="a"))
    assert "is not local" in await reason(explainer("s3://bucket/explainer", model="a"))
    assert "not the ALE" in await reason(explainer(saved("anchor_tabular"), "ale", model="a"))
    (tmp_path / "meta.dill").write_bytes(b"nothing")
    assert "cannot be read as an explainer" in await reason(explainer(tmp_path, model="a"))
    broken = fitted / "broken.joblib"
    broken.write_bytes(b"nothing")
    assert "cannot be read as a fitted model" in await reason(
        explainer(saved("tree_shap"), "tree_shap", infer_uri=str(broken))
    )


async def test_a_missing_library_is_named(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alibi.explainers", None)
    assert "needs alibi, which cannot be imported here" in await reason(
        explainer(saved("anchor_tabular"), model="a")
    )


async def test_the_licence_is_logged(saved: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mlsrv.alibi-explain"):
        async with kernel_of(explainer(saved("anchor_tabular"), model="a")):
            pass
    assert caplog.text.count("Business Source License 1.1") == 1


async def test_two_explanations_at_a_time_are_those_of_each(saved: Any) -> None:
    settings = explainer(saved("kernel_shap"), "kernel_shap", model="scores")
    async with kernel_of(settings, SCORES) as kernel:
        alone = [await explained(kernel, ROWS[index : index + 1], nsamples=16) for index in range(3)]
        together = await asyncio.gather(
            *(explained(kernel, ROWS[index : index + 1], nsamples=16) for index in range(3))
        )
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one["data"]["shap_values"], other["data"]["shap_values"], atol=1e-6)


async def test_bad_bodies_of_the_handler(saved: Any) -> None:
    async with served(
        [explainer(saved("anchor_tabular"), model="scores"), SCORES], parallel_workers=0
    ) as found:
        url = f"{found.rest}/v2/models/m/explain"
        assert (await asyncio.to_thread(httpx.post, url, content=b"{", timeout=30)).status_code == 400
        body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
        answer = await asyncio.to_thread(httpx.post, url, json=body, timeout=30)
        assert answer.status_code == 400
        assert "3 features" in answer.json()["error"]
