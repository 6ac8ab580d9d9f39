"""Models trained and saved by their frameworks, explained by a kernel, and compared with shap itself."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import joblib
import lightgbm
import numpy as np
import pytest
import shap
import xgboost
from PIL import Image
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from mlsrv import ModelSettings
from mlsrv.errors import InferenceError, OutputNotFound
from mlsrv.testing import tensor_request, text_request
from mlsrv.types import InferenceRequest, InferenceResponse
from mlsrv_shap.runtime import ShapModel
from mlsrv_testing.contracts import RuntimeContract
from served import asking, assert_same_over_every_wire, kernel_of, model, reason

pytestmark = pytest.mark.filterwarnings("ignore:LightGBM binary classifier:UserWarning")

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(200, 4))
VALUE = ROWS[:, 0] * 2 + ROWS[:, 1] * ROWS[:, 2] + 5
TWO = (VALUE > 5).astype(int)
THREE = np.digitize(VALUE, [4, 6])
ASKED = np.ascontiguousarray(ROWS[:3])
QUIET = {"n_estimators": 5, "verbose": -1, "n_jobs": 1}
CAT = {"iterations": 5, "verbose": 0, "allow_writing_files": False}
LOGIT = LogisticRegression().fit(ROWS, THREE)

Predict = Callable[[Any], Any]


def saved(found: Any, path: Path) -> Path:
    """Save a model in the own format of its framework; the path."""
    name = type(found).__module__.partition(".")[0]
    if name == "xgboost":
        found.save_model(path.with_suffix(".ubj"))
        return path.with_suffix(".ubj")
    if name == "lightgbm":
        found.booster_.save_model(path.with_suffix(".txt"))
        return path.with_suffix(".txt")
    if name == "catboost":
        found.save_model(path.with_suffix(".cbm"))
        return path.with_suffix(".cbm")
    joblib.dump(found, path.with_suffix(".joblib"))
    return path.with_suffix(".joblib")


def margin(found: Any) -> Predict:
    return lambda rows: found.predict(rows, output_margin=True)


def raw(found: Any) -> Predict:
    return lambda rows: found.predict(rows, raw_score=True)


def formula(found: Any) -> Predict:
    return lambda rows: found.predict(rows, prediction_type="RawFormulaVal")


def trees() -> dict[str, tuple[Any, Predict]]:
    """Fitted models, each with what its values add up to."""
    found: dict[str, tuple[Any, Predict]] = {}
    for name, target in (("two", TWO), ("three", THREE)):
        made = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(ROWS, target)
        found[f"xgboost {name}"] = made, margin(made)
        light = lightgbm.LGBMClassifier(**QUIET).fit(ROWS, target)
        found[f"lightgbm {name}"] = light, raw(light)
        cat = catboost.CatBoostClassifier(**CAT).fit(ROWS, target)
        found[f"catboost {name}"] = cat, formula(cat)
        hist = HistGradientBoostingClassifier(max_iter=5).fit(ROWS, target)
        found[f"hist {name}"] = hist, hist.decision_function
        forest = RandomForestClassifier(5, random_state=0).fit(ROWS, target)
        found[f"forest {name}"] = forest, forest.predict_proba
    boosted = GradientBoostingClassifier(n_estimators=5).fit(ROWS, TWO)
    found["boosting"] = boosted, boosted.decision_function
    tree = DecisionTreeClassifier().fit(ROWS, TWO)
    found["tree"] = tree, tree.predict_proba
    regressors: dict[str, Any] = {
        "xgboost": xgboost.XGBRegressor(n_estimators=5, n_jobs=1),
        "lightgbm": lightgbm.LGBMRegressor(**QUIET),
        "catboost": catboost.CatBoostRegressor(**CAT),
        "forest": RandomForestRegressor(5, random_state=0),
        "extra trees": ExtraTreesRegressor(5, random_state=0),
        "boosting": GradientBoostingRegressor(n_estimators=5),
        "hist": HistGradientBoostingRegressor(max_iter=5),
    }
    for name, regressor in regressors.items():
        found[f"{name} value"] = regressor.fit(ROWS, VALUE), regressor.predict
    counts = np.abs(VALUE).round()
    poisson = HistGradientBoostingRegressor(max_iter=5, loss="poisson").fit(ROWS, counts)
    found["hist poisson"] = poisson, lambda rows: np.log(poisson.predict(rows))
    return found


TREES = trees()


async def ask(settings: ModelSettings, request: InferenceRequest) -> InferenceResponse:
    async with kernel_of(settings) as kernel:
        assert kernel.ready, kernel.problems()
        return await kernel.infer(request)


def arrays(answer: Any) -> dict[str, Any]:
    return {output.name: np.asarray(output.data).reshape(output.shape) for output in answer.outputs}


class TestContract(RuntimeContract):
    def settings(self, tmp_path: Path) -> ModelSettings:
        return model(saved(TREES["xgboost three"][0], tmp_path / "model"), "shap")

    def requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ASKED), asking(tensor_request("m", ASKED), "expected_value", "plot")]

    def bad_requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ASKED[:, :2]), text_request("m", ["a"] * 4)]


@pytest.mark.parametrize("name", TREES)
async def test_values_are_those_of_shap_and_add_up(tmp_path: Path, name: str) -> None:
    found, predict = TREES[name]
    expected = shap.TreeExplainer(found)
    settings = model(saved(found, tmp_path / "model"), "shap")
    got = arrays(await ask(settings, tensor_request("m", ASKED)))
    np.testing.assert_allclose(got["shap_values"], expected.shap_values(ASKED), rtol=1e-5, atol=1e-6)
    total = got["shap_values"].sum(axis=1) + (
        got["expected_value"] if got["shap_values"].ndim == 3 else got["expected_value"][0]
    )
    np.testing.assert_allclose(total, np.asarray(predict(ASKED)).reshape(total.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("explainer", ["linear", "permutation", "kernel"])
async def test_values_of_a_linear_model_add_up(tmp_path: Path, explainer: str) -> None:
    np.save(tmp_path / "background.npy", ROWS[:50])
    path = saved(LOGIT, tmp_path / "model")
    settings = model(path, "shap", {"explainer": explainer, "background": str(tmp_path / "background.npy")})
    answer = await ask(settings, tensor_request("m", ASKED))
    got = arrays(answer)
    assert got["shap_values"].shape == (3, 4, 3)
    total = got["shap_values"].sum(axis=1) + got["expected_value"]
    np.testing.assert_allclose(total, LOGIT.decision_function(ASKED), atol=1e-6)
    if explainer == "linear":
        expected = shap.LinearExplainer(LOGIT, ROWS[:50]).shap_values(ASKED)
        np.testing.assert_allclose(got["shap_values"], expected)
    assert answer.parameters is not None
    assert answer.parameters.get("explainer") == explainer
    assert answer.parameters.get("output_space") == "margin"
    assert answer.parameters.get("labels") == ["0", "1", "2"]


async def test_any_estimator_is_explained_with_a_background(tmp_path: Path) -> None:
    found = KNeighborsClassifier().fit(ROWS, TWO)
    lines = ["a,b,c,d", *(",".join(map(str, row)) for row in ROWS[:30])]
    (tmp_path / "background.csv").write_text("\n".join(lines), encoding="utf-8")
    path = saved(found, tmp_path / "model")
    settings = model(path, "shap", {"background": str(tmp_path / "background.csv")})
    answer = await ask(settings, tensor_request("m", ASKED))
    got = arrays(answer)
    np.testing.assert_allclose(
        got["shap_values"].sum(axis=1) + got["expected_value"], found.predict_proba(ASKED), atol=1e-6
    )
    assert answer.parameters is not None
    assert answer.parameters.get("feature_names") == ["a", "b", "c", "d"]


@pytest.mark.parametrize("workers", [0, 1])
async def test_the_same_numbers_over_every_wire(tmp_path: Path, workers: int) -> None:
    found, _ = TREES["catboost value"]
    expected = shap.TreeExplainer(found).shap_values(ASKED)
    settings = model(saved(found, tmp_path / "model"), "shap")
    await assert_same_over_every_wire(settings, workers, ASKED, {"shap_values": expected})


@pytest.mark.parametrize("name", ["xgboost two", "forest three"])
async def test_a_plot_is_a_picture(tmp_path: Path, name: str) -> None:
    settings = model(saved(TREES[name][0], tmp_path / "model"), "shap")
    for rows in (ASKED[:1], ASKED):
        answer = await ask(settings, asking(tensor_request("m", rows), "plot"))
        (plot,) = answer.outputs
        assert plot.parameters is not None
        assert (plot.parameters.content_type, plot.parameters.get("media_type")) == ("base64", "image/png")
        with Image.open(io.BytesIO(base64.b64decode(plot.data[0]))) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) >= 200


@pytest.mark.parametrize("name", ["xgboost three", "lightgbm three", "catboost three", "forest three"])
async def test_single_rows_are_fast(tmp_path: Path, name: str) -> None:
    """The bound is wide, for machines that are busy; the README tells the usual time."""
    settings = model(saved(TREES[name][0], tmp_path / "model"), "shap")
    async with kernel_of(settings) as kernel:
        request = tensor_request("m", ASKED[:1])
        await kernel.infer(request)
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            await kernel.infer(request)
            taken.append(time.perf_counter() - began)
    assert min(taken) < 0.2


def with_categories(tmp_path: Path) -> Any:
    rows = ROWS.copy()
    rows[:, 3] = RANDOM.integers(0, 4, len(rows))
    return HistGradientBoostingRegressor(max_iter=5, categorical_features=[3]).fit(rows, VALUE)


@pytest.mark.parametrize(
    ("make", "settings", "what"),
    [
        (with_categories, {}, "wrong values"),
        (lambda _: IsolationForest().fit(ROWS), {}, "IsolationForest"),
        (lambda _: LOGIT, {}, "parameters.extra.background"),
        (lambda _: LOGIT, {"explainer": "tree"}, "does not take a LogisticRegression"),
        (lambda _: LOGIT, {"explainer": "magic"}, "one of auto, tree"),
        (lambda _: LOGIT, {"explaner": "tree"}, "explaner is unknown"),
        (lambda _: LOGIT, {"background": "none.npy"}, "No such file"),
        (lambda _: LOGIT, {"background": "model.txt"}, r".npy or .csv"),
        (lambda _: LOGIT, {"max_rows": 0}, "at least 1"),
        (lambda _: LOGIT, {"seed": "x"}, "an integer"),
        (lambda _: {"not": "a model"}, {}, "no method predict"),
    ],
)
async def test_what_cannot_be_explained_is_refused(
    tmp_path: Path, make: Any, settings: dict[str, Any], what: str
) -> None:
    path = saved(make(tmp_path), tmp_path / "model")
    assert what in await reason(model(path, "shap", settings))


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    for name in ("model.cbm", "model.joblib", "model.ubj", "model.xyz"):
        (tmp_path / name).write_bytes(b"tree nothing")
        found = await reason(model(tmp_path / name, "shap"))
        assert "cannot be read" in found or "none of the endings" in found


async def test_requests_that_do_not_fit(tmp_path: Path) -> None:
    async with kernel_of(
        model(saved(TREES["forest two"][0], tmp_path / "model"), "shap", {"max_rows": 5})
    ) as kernel:
        for rows in (ROWS[:6], ROWS[:0]):
            with pytest.raises(InferenceError, match="1 to 5 rows"):
                await kernel.infer(tensor_request("m", rows))
        with pytest.raises(InferenceError):
            await kernel.infer(tensor_request("m", ASKED[:, :3]))
        with pytest.raises(OutputNotFound):
            await kernel.infer(asking(tensor_request("m", ASKED), "nonsense"))
        assert (await kernel.infer(tensor_request("m", ASKED))).outputs


async def test_the_metadata_tells_inputs_and_outputs(tmp_path: Path) -> None:
    async with kernel_of(model(saved(TREES["forest two"][0], tmp_path / "model"), "shap")) as kernel:
        found = kernel.model_metadata("m")
    assert [tensor.name for tensor in found.outputs] == ["shap_values", "expected_value", "plot"]
    assert found.inputs[0].shape == [-1, 4]
    assert ShapModel.framework == "shap"
