"""Boosters and estimators trained and saved here, served by a kernel, and compared with LightGBM itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LinearRegression

from mlsrv import ModelSettings
from mlsrv.codecs import PandasCodec
from mlsrv.errors import InferenceError, InputsNotFound, OutputNotFound
from mlsrv.testing import tensor_request, text_request
from mlsrv.types import InferenceRequest
from mlsrv_lightgbm import LightGBMModel
from mlsrv_testing.contracts import RuntimeContract
from served import ask, asking, assert_identical, assert_same_over_every_wire, kernel_of, model, reason

IRIS, FLOWER = load_iris(return_X_y=True)
CANCER, BENIGN = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
NAMES = load_iris().target_names[FLOWER]
ROWS = np.ascontiguousarray(IRIS[[0, 60, 140]])
QUIET = {"verbosity": -1, "num_threads": 1}


def booster(rows: Any = IRIS, target: Any = FLOWER, rounds: int = 4, **settings: Any) -> lightgbm.Booster:
    settings = {"objective": "multiclass", "num_class": 3} | settings if target is FLOWER else settings
    return lightgbm.train(QUIET | settings, lightgbm.Dataset(rows, target), rounds)


def as_text(trained: lightgbm.Booster, path: Path) -> Path:
    trained.save_model(path)
    return path


def as_joblib(trained: Any, path: Path) -> Path:
    joblib.dump(trained, path)
    return path


class TestContract(RuntimeContract):
    def settings(self, tmp_path: Path) -> ModelSettings:
        return model(as_text(booster(), tmp_path / "model.txt"), "lightgbm")

    def requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS), asking(tensor_request("m", ROWS[:1]), "predict_leaf", "predict")]

    def bad_requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS[:, :2]), text_request("m", ["a", "b"])]


@pytest.mark.parametrize("workers", [0, 1])
async def test_the_same_numbers_over_every_wire(tmp_path: Path, workers: int) -> None:
    estimator = lightgbm.LGBMClassifier(n_estimators=4, verbosity=-1, n_jobs=1).fit(IRIS, NAMES)
    expected = {
        "predict": estimator.predict(ROWS),
        "predict_proba": estimator.predict_proba(ROWS),
        "predict_raw": estimator.predict(ROWS, raw_score=True),
        "predict_leaf": estimator.predict(ROWS, pred_leaf=True),
    }
    settings = model(as_joblib(estimator, tmp_path / "model.joblib"), "lightgbm")
    await assert_same_over_every_wire(settings, workers, ROWS, expected)


@pytest.mark.parametrize("file", ["model.bst", "model.txt", "iris-lightgbm.bst", "iris.txt"])
async def test_a_booster_is_found_and_chooses_the_runtime(tmp_path: Path, file: str) -> None:
    trained = booster()
    path = as_text(trained, tmp_path / file)
    (tmp_path / "model-settings.json").write_text("{}")
    for where in (path, tmp_path):
        async with kernel_of(model(where, None)) as kernel:
            assert kernel.problems() == []
            found = await ask(kernel, ROWS, "predict", "predict_proba", "predict_raw", "predict_leaf")
    assert_identical(found["predict"], trained.predict(ROWS))
    assert_identical(found["predict_proba"], trained.predict(ROWS))
    assert_identical(found["predict_raw"], trained.predict(ROWS, raw_score=True))
    assert_identical(found["predict_leaf"], trained.predict(ROWS, pred_leaf=True))


@pytest.mark.parametrize("file", ["model.joblib", "iris.pickle"])
async def test_an_estimator_chooses_the_runtime_too(tmp_path: Path, file: str) -> None:
    estimator = lightgbm.LGBMRegressor(n_estimators=3, verbosity=-1, n_jobs=1).fit(IRIS, FLOWER)
    as_joblib(estimator, tmp_path / file)
    (tmp_path / "notes.txt").write_text("no model")
    async with kernel_of(model(tmp_path, None)) as kernel:
        assert kernel.problems() == []
        assert kernel.model_metadata("m").platform == "lightgbm"


@pytest.mark.parametrize(
    "name", ["mlserver_lightgbm.LightGBMModel", "mlsrv_lightgbm.LightGBMModel", LightGBMModel]
)
async def test_every_name_of_the_runtime_is_known(tmp_path: Path, name: Any) -> None:
    async with kernel_of(model(as_text(booster(), tmp_path / "m.bst"), name)) as kernel:
        assert kernel.ready


async def test_each_kind_of_model_has_its_outputs(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    binary = lightgbm.LGBMClassifier(n_estimators=3, verbosity=-1, n_jobs=1).fit(CANCER, BENIGN)
    async with kernel_of(model(as_joblib(binary, path), "lightgbm")) as kernel:
        found = await ask(kernel, CANCER, "predict", "predict_proba", "predict_raw")
        assert_identical(found["predict"], binary.predict(CANCER)[:, None])
        assert_identical(found["predict_proba"], binary.predict_proba(CANCER))
        assert_identical(found["predict_raw"], binary.predict(CANCER, raw_score=True)[:, None])
    regressor = lightgbm.LGBMRegressor(n_estimators=3, verbosity=-1, n_jobs=1).fit(DIABETES, PROGRESS)
    ranker = lightgbm.LGBMRanker(n_estimators=3, verbosity=-1, n_jobs=1).fit(
        DIABETES, np.arange(442) % 3, group=[442]
    )
    for estimator in (regressor, ranker):
        async with kernel_of(model(as_joblib(estimator, path), "lightgbm")) as kernel:
            assert_identical((await ask(kernel, DIABETES))["predict"], estimator.predict(DIABETES)[:, None])
            with pytest.raises(OutputNotFound, match='no output "predict_proba"; it has predict'):
                await ask(kernel, DIABETES, "predict_proba")
    trained = booster(CANCER, BENIGN, objective="binary")
    async with kernel_of(model(as_text(trained, tmp_path / "m.txt"), "lightgbm")) as kernel:
        found = await ask(kernel, CANCER, "predict", "predict_proba")
        assert_identical(found["predict"], trained.predict(CANCER)[:, None])
        assert_identical(found["predict_proba"][:, 0], 1 - trained.predict(CANCER))


@pytest.mark.filterwarnings("ignore:.*eval_set:lightgbm.basic.LGBMDeprecationWarning")
async def test_early_stopping_counts(tmp_path: Path) -> None:
    estimator = lightgbm.LGBMRegressor(n_estimators=60, learning_rate=0.9, verbosity=-1, n_jobs=1)
    stop = lightgbm.early_stopping(2, verbose=False)
    estimator.fit(
        DIABETES[:300], PROGRESS[:300], eval_set=[(DIABETES[300:], PROGRESS[300:])], callbacks=[stop]
    )
    async with kernel_of(model(as_joblib(estimator, tmp_path / "m.joblib"), "lightgbm")) as kernel:
        assert_identical((await ask(kernel, DIABETES))["predict"], estimator.predict(DIABETES)[:, None])


async def test_frames_with_categories_and_missing_values(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": np.where(random.random(300) < 0.2, np.nan, random.random(300)),
            "colour": pd.Categorical(random.choice(["red", "green", "blue"], 300)),
            "count": random.integers(0, 9, 300),
        }
    )
    target = frame["count"] + (frame["colour"] == "red") * 4
    estimator = lightgbm.LGBMRegressor(n_estimators=8, verbosity=-1, n_jobs=1).fit(frame, target)
    few = frame.head(9)
    expected = estimator.predict(few)[:, None]
    for path in (
        as_text(estimator.booster_, tmp_path / "model.txt"),
        as_joblib(estimator, tmp_path / "model.joblib"),
    ):
        async with kernel_of(model(path, "lightgbm")) as kernel:
            assert [(tensor.name, str(tensor.datatype)) for tensor in kernel.model_metadata("m").inputs] == [
                ("size", "FP64"),
                ("colour", "BYTES"),
                ("count", "FP64"),
            ]
            for sent in (few, few[["count", "colour", "size"]], few.astype({"colour": str})):
                found = await ask(kernel, PandasCodec.encode_request(sent))
                assert_identical(found["predict"], expected)
            codes = few.assign(colour=few["colour"].cat.codes).to_numpy(np.float64)
            assert_identical((await ask(kernel, codes))["predict"], expected)
            with pytest.raises(InputsNotFound, match="needs the inputs colour; it takes colour, count, size"):
                await ask(kernel, PandasCodec.encode_request(few[["size", "count"]]))
            with pytest.raises(InputsNotFound, match="does not know the inputs more"):
                await ask(kernel, PandasCodec.encode_request(few.assign(more=1)))
            with pytest.raises(
                InferenceError, match=r"takes 3 features \(size, colour, count\), but .* has 2"
            ):
                await ask(kernel, np.zeros((2, 2)))
            with pytest.raises(InferenceError, match=r"refuses the input: .*size"):
                await ask(kernel, PandasCodec.encode_request(few.assign(size="large")))


async def test_the_metadata_comes_from_the_artifact(tmp_path: Path) -> None:
    async with kernel_of(model(as_text(booster(), tmp_path / "m.txt"), "lightgbm")) as kernel:
        metadata = kernel.model_metadata("m")
        assert [(tensor.name, str(tensor.datatype), tensor.shape) for tensor in metadata.inputs] == [
            ("input-1", "FP64", [-1, 4])
        ]
        found = await kernel.infer(asking(ROWS, *(tensor.name for tensor in metadata.outputs)))
        for declared, output in zip(metadata.outputs, found.outputs, strict=True):
            assert declared.datatype == output.datatype
            assert declared.shape[1] in (-1, output.shape[1])


async def test_inputs_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    async with kernel_of(model(as_text(booster(), tmp_path / "m.txt"), "lightgbm", {"threads": 1})) as kernel:
        for values in (ROWS[:, :3], np.hstack([ROWS, ROWS]), ROWS[0]):
            with pytest.raises(InferenceError, match="takes 4 features, but the input has"):
                await ask(kernel, values)
        texts = text_request("m", ["a", "b", "c", "d"])
        texts.inputs[0].shape = [1, 4]
        with pytest.raises(InferenceError, match="takes numbers; send texts as columns"):
            await ask(kernel, texts)
        with pytest.raises(OutputNotFound, match='no output "transform"'):
            await ask(kernel, ROWS, "transform")
        assert list(await ask(kernel, ROWS)) == ["predict"]


async def test_unusable_artifacts_say_what_to_do(tmp_path: Path) -> None:
    assert "has no artifact of LightGBM (model.bst, " in await reason(model(tmp_path, "lightgbm"))
    path = as_text(booster(), tmp_path / "model.bst")
    whole = path.read_bytes()
    damaged = whole.replace(b"leaf_value=", b"leaf_valeu=", 1)
    for broken in (
        b"",
        b"junk",
        b"tree\nversion=v4\n",
        whole[:900],
        whole[: len(whole) // 2],
        damaged,
        b"{}",
    ):
        path.write_bytes(broken)
        found = await reason(model(path, "lightgbm"))
        assert f"{path} cannot be read as a model of LightGBM (" in found
        assert "save it again with save_model" in found
    path.write_bytes(whole[:900].replace(b"version=v4", b"version=v9"))
    assert "has version 9 of LightGBM's form" in await reason(model(path, "lightgbm"))
    path = tmp_path / "model.joblib"
    path.write_bytes(b"junk")
    assert "cannot be read as a joblib or pickle file (" in await reason(model(path, "lightgbm"))
    as_joblib(LinearRegression().fit(IRIS, FLOWER), path)
    assert "holds a LinearRegression, which is no model of LightGBM" in await reason(model(path, "lightgbm"))
    as_joblib(lightgbm.LGBMRegressor(), path)
    assert "the LGBMRegressor is not fitted" in await reason(model(path, "lightgbm"))
    wrong = model(as_text(booster(), tmp_path / "model.txt"), "lightgbm", {"predict_fn": "transform"})
    assert "predict_fn is 'transform', but the model has predict, predict_proba" in await reason(wrong)


async def test_names_with_spaces_are_taken_as_in_training_and_as_lightgbm_writes_them(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    frame = pd.DataFrame({"age": random.random(200), "hours per week": random.random(200)})
    trained = booster(frame, frame["age"] - frame["hours per week"])
    expected = trained.predict(frame.head(3))[:, None]
    async with kernel_of(model(as_text(trained, tmp_path / "m.txt"), "lightgbm")) as kernel:
        few = frame.head(3)
        for sent in (few, few[["hours per week", "age"]], few.set_axis(["age", "hours_per_week"], axis=1)):
            request = PandasCodec.encode_request(sent)
            assert_identical((await ask(kernel, request))["predict"], expected)
            request.parameters = None
            assert_identical((await ask(kernel, request))["predict"], expected)
        twice = PandasCodec.encode_request(few.assign(hours_per_week=1.0))
        with pytest.raises(InputsNotFound, match="does not know the inputs hours_per_week"):
            await ask(kernel, twice)


async def test_aliases_of_objectives_give_probabilities(tmp_path: Path) -> None:
    trained = booster(objective="softmax")
    for path in (as_joblib(trained, tmp_path / "m.joblib"), as_text(trained, tmp_path / "m.txt")):
        async with kernel_of(model(path, "lightgbm")) as kernel:
            found = await ask(kernel, ROWS, "predict_proba")
            assert_identical(found["predict_proba"], trained.predict(ROWS))


async def test_the_classes_of_columns_are_told(tmp_path: Path) -> None:
    estimator = lightgbm.LGBMClassifier(n_estimators=3, verbosity=-1, n_jobs=1).fit(IRIS, NAMES)
    async with kernel_of(model(as_joblib(estimator, tmp_path / "m.joblib"), "lightgbm")) as kernel:
        response = await kernel.infer(asking(ROWS, "predict", "predict_proba", "predict_raw"))
        labels = [output.parameters.get("labels") for output in response.outputs if output.parameters]
        assert labels == [None, ["setosa", "versicolor", "virginica"], ["setosa", "versicolor", "virginica"]]
        declared = {tensor.name: tensor.parameters for tensor in kernel.model_metadata("m").outputs}
        assert declared["predict_proba"].get("labels") == ["setosa", "versicolor", "virginica"]
        assert declared["predict"] is None


async def test_categories_are_found_where_other_columns_are_categorical_too(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "x": random.random(300),
            "shop": pd.Categorical(random.choice([10, 20, 30], 300)),
            "kind": random.integers(0, 9, 300),
        }
    )
    target = (frame["shop"] == 20) * 5.0 + frame["x"]
    dataset = lightgbm.Dataset(frame, target, categorical_feature=["kind", "shop"])
    trained = lightgbm.train(QUIET, dataset, 5)
    few = frame.head(6)
    async with kernel_of(model(as_text(trained, tmp_path / "m.txt"), "lightgbm")) as kernel:
        assert [str(tensor.datatype) for tensor in kernel.model_metadata("m").inputs] == [
            "FP64",
            "INT64",
            "FP64",
        ]
        request = PandasCodec.encode_request(few.astype({"shop": int}))
        assert_identical((await ask(kernel, request))["predict"], trained.predict(few)[:, None])


async def test_categories_of_columns_that_cannot_be_told_apart_are_taken_as_a_frame_of_categories(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "shop": pd.Categorical(random.choice([10, 20, 30], 300), ordered=True),
            "kind": random.integers(0, 3, 300),
        }
    )
    trained = booster(frame, (frame["shop"] == 20) * 5.0)
    few = frame.head(6)
    async with kernel_of(model(as_text(trained, tmp_path / "m.txt"), "lightgbm")) as kernel:
        [declared] = kernel.model_metadata("m").inputs
        assert (str(declared.datatype), declared.shape) == ("FP64", [-1, 2])
        for sent in (few, few[["kind", "shop"]]):
            found = await ask(kernel, PandasCodec.encode_request(sent))
            assert_identical(found["predict"], trained.predict(few)[:, None])
        plain = PandasCodec.encode_request(few.astype({"shop": int}))
        with pytest.raises(InferenceError, match="categorical_feature do not match"):
            await ask(kernel, plain)
        plain.parameters = None
        with pytest.raises(InferenceError):
            await ask(kernel, plain)
