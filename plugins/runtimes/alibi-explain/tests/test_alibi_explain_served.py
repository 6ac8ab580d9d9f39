"""Explanations that are served are those of the explainers themselves."""

from __future__ import annotations

import asyncio
import json
import warnings
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from alibi.saving import load_explainer
from tiny_explainers import EXPLAINERS, IMAGE, ROWS

from mlsrv import ModelSettings
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, Parameters, RequestInput
from served import served

LOADING = 300
"""Seconds for models to load in a worker, which imports alibi and what that imports first."""
EXPLAINED = {"anchor_image": "Images", "anchor_text": "Texts"}
FILES = {"tree_shap": "forest.joblib", "tree_partial_dependence": "curve.joblib"}
BATCHES = ("ale", "kernel_shap", "partial_dependence", "permutation_importance")


def explained(kind: str) -> ModelSettings:
    cls = EXPLAINED.get(kind, "Scores")
    return ModelSettings(name=cls.lower(), implementation=f"explained_models.{cls}")


def explaining(kind: str, folder: Path, fitted: Path, **further: Any) -> ModelSettings:
    if kind in FILES:
        extra: dict[str, Any] = {"infer_uri": str(fitted / FILES[kind])}
    else:
        extra = {"model": EXPLAINED.get(kind, "Scores").lower()}
    if kind in BATCHES:
        extra["explainer_batch"] = True
    parameters = {"uri": str(folder), "extra": {"explainer_type": kind, **extra}}
    return ModelSettings(name=kind, implementation="alibi-explain", parameters=parameters, **further)


def asking(kind: str) -> InferenceRequest:
    if kind == "anchor_text":
        request = InferenceRequest([RequestInput("text", [1], "BYTES", ["a good book"])], model_name=kind)
    else:
        request = tensor_request(kind, IMAGE[None] if kind == "anchor_image" else ROWS[:8])
    request.parameters = Parameters(explain_parameters=json.dumps(EXPLAINERS[kind][2]))
    return request


def direct(kind: str, folder: Path) -> Any:
    """What an explainer says directly, in the form of the runtime."""
    chosen = {key: np.asarray(value) if key == "y" else value for key, value in EXPLAINERS[kind][2].items()}
    values: Any = "a good book" if kind == "anchor_text" else IMAGE if kind == "anchor_image" else ROWS[:8]
    if kind == "anchor_tabular":
        values = ROWS[0]
    np.random.seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_explainer(folder, EXPLAINERS[kind][1]).explain(values, **chosen)
    return json.loads(found.to_json())


def compare(kind: str, found: Any, wanted: Any, *, is_seeded: bool = True) -> None:
    assert found["meta"]["name"] == wanted["meta"]["name"]
    if kind.startswith("anchor"):
        # Anchors are looked for with rows that are drawn, and drawn anew in another process.
        if is_seeded:
            assert found["data"]["anchor"] == wanted["data"]["anchor"]
            assert found["data"]["precision"] == wanted["data"]["precision"]
        assert found["data"]["anchor"]
        assert np.max(found["data"]["precision"]) >= 0.9
    elif kind == "permutation_importance":
        assert np.shape(found["data"]["feature_importance"]) == np.shape(wanted["data"]["feature_importance"])
    else:
        keys = {"kernel_shap": "shap_values", "tree_shap": "shap_values", "ale": "ale_values"}
        key = keys.get(kind, "pd_values")
        for one, other in zip(found["data"][key], wanted["data"][key], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [0, 1])
async def test_every_explainer_over_rest_and_grpc(
    saved: Any, fitted: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("served.LOADING", LOADING)
    models = [explaining(kind, saved(kind), fitted) for kind in EXPLAINERS]
    models += [explained(kind) for kind in ("ale", *EXPLAINED)]
    async with served(models, parallel_workers=workers) as found:
        assert found.kernel.problems() == []
        for kind in EXPLAINERS:
            wanted = direct(kind, saved(kind))
            for wire in ("json", "grpc"):
                np.random.seed(3)
                answer = await found.infer(wire, asking(kind))
                [output] = answer.outputs
                assert output.name == "explanation"
                assert output.shape == [1, 1]
                compare(kind, json.loads(output.data[0]), wanted, is_seeded=workers == 0)
        body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [[2.0, 0.0, 0.0]]}]}
        plain = await asyncio.to_thread(
            httpx.post, f"{found.rest}/v2/models/anchor_tabular/explain", json=body, timeout=60
        )
        assert plain.status_code == 200, plain.text
        assert plain.json()["meta"]["name"] == "AnchorTabular"
        assert plain.json()["data"]["precision"] >= 0.95
        url = f"{found.rest}/v2/models/anchor_tabular/infer"
        wrapped = await asyncio.to_thread(httpx.post, url, json=body, timeout=60)
        assert wrapped.headers["x-seldon-alibi-type"] == "explanation"
        assert wrapped.headers["x-seldon-alibi-method"] == "anchor_tabular"


@pytest.mark.timeout(300)
async def test_a_model_behind_an_infer_uri(saved: Any, fitted: Path) -> None:
    async with served([explained("ale")], parallel_workers=0) as other:
        extra = {"infer_uri": f"{other.rest}/v2/models/scores/infer", "explainer_batch": True}
        model = explaining("kernel_shap", saved("kernel_shap"), fitted)
        model.parameters.extra = {"explainer_type": "kernel_shap", "infer_output": "scores", **extra}
        model.implementation = "mlserver_alibi_explain.AlibiExplainRuntime"
        async with served([model], parallel_workers=0) as found:
            assert found.kernel.problems() == []
            answer = await found.infer("json", asking("kernel_shap"))
            compare(
                "kernel_shap",
                json.loads(answer.outputs[0].data[0]),
                direct("kernel_shap", saved("kernel_shap")),
            )
            root = await asyncio.to_thread(
                httpx.post,
                f"{found.rest}/explain",
                json={"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]},
                timeout=60,
            )
            assert root.json()["meta"]["name"] == "KernelShap"
