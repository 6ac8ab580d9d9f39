"""Boosters trained and saved here, served by a kernel, and compared with XGBoost itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from mlsrv import ModelSettings
from mlsrv.codecs import PandasCodec
from mlsrv.errors import InferenceError, InputsNotFound, OutputNotFound
from mlsrv.testing import tensor_request, text_request
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_testing.contracts import RuntimeContract
from mlsrv_xgboost import XGBoostModel
from served import ask, asking, assert_identical, assert_same_over_every_wire, kernel_of, model, reason

# Some forms of models are saved in ways that XGBoost warns of.
pytestmark = pytest.mark.filterwarnings("ignore:.*(UBJSON|file format).*:UserWarning")

IRIS, FLOWER = load_iris(return_X_y=True)
CANCER, BENIGN = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
ROWS = np.ascontiguousarray(IRIS[[0, 60, 140]], dtype=np.float32)


def trained(**settings: Any) -> xgboost.XGBClassifier:
    return xgboost.XGBClassifier(n_estimators=5, max_depth=3, **settings)


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    def save(trained: Any, file: str = "model.json") -> Path:
        trained.save_model(tmp_path / file)
        return tmp_path / file

    return save


def frame_request(frame: pd.DataFrame) -> InferenceRequest:
    return PandasCodec.encode_request(frame)


def mixed_frame(rows: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(3)
    size = random.random(rows)
    size[::7] = np.nan
    return pd.DataFrame(
        {
            "size": size,
            "colour": pd.Categorical(random.choice(["red", "green", "blue"], rows)),
            "count": random.integers(0, 9, rows),
            "wild": random.random(rows) > 0.5,
        }
    )


class TestContract(RuntimeContract):
    def settings(self, tmp_path: Path) -> ModelSettings:
        trained().fit(IRIS, FLOWER).save_model(tmp_path / "model.json")
        return model(tmp_path / "model.json", "xgboost")

    def requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS), asking(tensor_request("m", ROWS[:1]), "predict_leaf", "predict")]

    def bad_requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS[:, :2]), text_request("m", ["a", "b"])]


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_classifier_gives_its_numbers_over_every_wire(saved: Any, workers: int) -> None:
    estimator = trained().fit(IRIS, FLOWER)
    expected = {
        "predict": estimator.predict(ROWS),
        "predict_proba": estimator.predict_proba(ROWS),
        "predict_raw": estimator.predict(ROWS, output_margin=True),
        "predict_leaf": estimator.apply(ROWS),
    }
    settings = model(saved(estimator), "xgboost")
    await assert_same_over_every_wire(settings, workers, ROWS, expected)


@pytest.mark.parametrize(
    ("objective", "target"),
    [
        ("multi:softmax", FLOWER),
        ("multi:softprob", FLOWER),
        ("binary:hinge", FLOWER > 0),
        ("binary:logistic", FLOWER > 0),
        ("binary:logistic", np.column_stack([FLOWER > 0, FLOWER > 1, FLOWER < 1])),
    ],
    ids=["softmax", "softprob", "hinge", "logistic", "several labels"],
)
async def test_a_classifier_of_every_objective_gives_its_own_classes_and_probabilities(
    saved: Any, objective: str, target: Any
) -> None:
    estimator = xgboost.XGBClassifier(n_estimators=4, objective=objective, n_jobs=1).fit(IRIS, target)
    async with kernel_of(model(saved(estimator), "xgboost")) as kernel:
        found = await ask(kernel, ROWS, "predict", "predict_proba")
        widths = {tensor.name: tensor.shape[1] for tensor in kernel.model_metadata("m").outputs}
    assert_identical(found["predict"], estimator.predict(ROWS).reshape(len(ROWS), -1))
    np.testing.assert_allclose(found["predict_proba"], estimator.predict_proba(ROWS), rtol=1e-6)
    assert {name: values.shape[1] for name, values in found.items()} == {
        name: widths[name] for name in ("predict", "predict_proba")
    }


@pytest.mark.parametrize("file", ["model.json", "model.ubj", "model.bst", "cancer.ubj", "cancer.json"])
async def test_every_form_of_artifact_is_found_and_chooses_the_runtime(saved: Any, file: str) -> None:
    table = xgboost.DMatrix(CANCER, label=BENIGN)
    booster = xgboost.train({"objective": "binary:logistic"}, table, 3)
    path = saved(booster, file)
    (path.parent / "model-settings.json").write_text("{}")
    for where in (path, path.parent):
        async with kernel_of(model(where, None)) as kernel:
            assert kernel.problems() == []
            found = await ask(kernel, CANCER[:9], "predict", "predict_proba", "predict_raw", "predict_leaf")
    few = xgboost.DMatrix(CANCER[:9])
    assert_identical(found["predict"], booster.predict(few)[:, None])
    assert_identical(found["predict_raw"], booster.predict(few, output_margin=True)[:, None])
    assert_identical(found["predict_leaf"], booster.predict(few, pred_leaf=True))
    assert_identical(found["predict_proba"][:, 1], booster.predict(few))
    assert_identical(found["predict_proba"][:, 0], 1 - booster.predict(few))


@pytest.mark.parametrize(
    "implementation", ["mlserver_xgboost.XGBoostModel", "mlsrv_xgboost.XGBoostModel", XGBoostModel]
)
async def test_every_name_of_the_runtime_is_known(saved: Any, implementation: Any) -> None:
    async with kernel_of(model(saved(trained().fit(IRIS, FLOWER)), implementation)) as kernel:
        assert kernel.ready


async def test_each_kind_of_estimator_has_its_outputs(saved: Any) -> None:
    binary = trained().fit(CANCER, BENIGN)
    async with kernel_of(model(saved(binary), "xgboost")) as kernel:
        found = await ask(kernel, CANCER, "predict", "predict_proba", "predict_raw")
        assert_identical(found["predict"], binary.predict(CANCER)[:, None])
        assert_identical(found["predict_proba"], binary.predict_proba(CANCER))
        assert_identical(found["predict_raw"], binary.predict(CANCER, output_margin=True)[:, None])
    labels = np.column_stack([FLOWER == 0, FLOWER > 0, FLOWER == 2]).astype(int)
    several = trained().fit(IRIS, labels)
    async with kernel_of(model(saved(several), "xgboost")) as kernel:
        found = await ask(kernel, IRIS, "predict", "predict_proba")
        assert_identical(found["predict"], several.predict(IRIS))
        assert_identical(found["predict_proba"], several.predict_proba(IRIS))
    ranker = xgboost.XGBRanker(n_estimators=3).fit(IRIS, FLOWER, qid=np.repeat(np.arange(15), 10))
    async with kernel_of(model(saved(ranker, "model.ubj"), "xgboost")) as kernel:
        assert_identical((await ask(kernel, IRIS))["predict"], ranker.predict(IRIS)[:, None])
    for kind in ("gbtree", "gblinear", "dart"):
        regressor = xgboost.XGBRegressor(n_estimators=4, booster=kind, updater=_updater(kind))
        regressor.fit(DIABETES, PROGRESS)
        async with kernel_of(model(saved(regressor), "xgboost")) as kernel:
            assert_identical((await ask(kernel, DIABETES))["predict"], regressor.predict(DIABETES)[:, None])
            has = [tensor.name for tensor in kernel.model_metadata("m").outputs]
            assert has == ["predict", "predict_raw", *(["predict_leaf"] if kind != "gblinear" else [])]
            with pytest.raises(OutputNotFound, match='no output "predict_proba"; it has predict'):
                await ask(kernel, DIABETES, "predict_proba")


def _updater(kind: str) -> str | None:
    return "coord_descent" if kind == "gblinear" else None


async def test_early_stopping_counts_for_estimators_only(saved: Any) -> None:
    regressor = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=3, learning_rate=0.9)
    regressor.fit(DIABETES[:300], PROGRESS[:300], eval_set=[(DIABETES[300:], PROGRESS[300:])], verbose=False)
    assert regressor.best_iteration + 1 < regressor.get_booster().num_boosted_rounds()
    async with kernel_of(model(saved(regressor), "xgboost")) as kernel:
        found = await ask(kernel, DIABETES, "predict", "predict_leaf")
        assert_identical(found["predict"], regressor.predict(DIABETES)[:, None])
        assert_identical(found["predict_leaf"], regressor.apply(DIABETES))
    booster = regressor.get_booster()
    async with kernel_of(model(saved(booster), "xgboost")) as kernel:
        wanted = booster.predict(xgboost.DMatrix(DIABETES))[:, None]
        assert_identical((await ask(kernel, DIABETES))["predict"], wanted)


async def test_frames_with_categories_and_missing_values(saved: Any) -> None:
    frame = mixed_frame()
    target = frame["count"] + (frame["colour"] == "red") * 4
    regressor = xgboost.XGBRegressor(n_estimators=8, enable_categorical=True).fit(frame, target)
    expected = regressor.predict(frame.head(9))[:, None]
    async with kernel_of(model(saved(regressor), "xgboost")) as kernel:
        metadata = kernel.model_metadata("m")
        assert [(tensor.name, str(tensor.datatype)) for tensor in metadata.inputs] == [
            ("size", "FP32"),
            ("colour", "BYTES"),
            ("count", "INT64"),
            ("wild", "BOOL"),
        ]
        few = frame.head(9)
        for sent in (few, few[["wild", "colour", "count", "size"]], few.astype({"colour": str})):
            found = await ask(kernel, frame_request(sent), "predict", "predict_leaf")
            assert_identical(found["predict"], expected)
        codes = few.assign(colour=few["colour"].cat.codes, wild=few["wild"].astype(float))
        assert_identical((await ask(kernel, codes.to_numpy(np.float64)))["predict"], expected)
        with pytest.raises(InputsNotFound, match="needs the inputs colour, wild; it takes colour, count"):
            await ask(kernel, frame_request(few[["size", "count"]]))
        with pytest.raises(InputsNotFound, match="does not know the inputs more"):
            await ask(kernel, frame_request(few.assign(more=1)))
        with pytest.raises(InferenceError, match=r"takes 4 features \(size, colour, count, wild\), but .* 3"):
            await ask(kernel, np.zeros((2, 3)))
        with pytest.raises(InferenceError, match=r"refuses the input: .*size"):
            await ask(kernel, frame_request(few.assign(size="large")))


async def test_named_features_come_as_tensors_of_their_own_too(saved: Any) -> None:
    names = ["a", "b", "c", "d"]
    estimator = trained().fit(pd.DataFrame(IRIS, columns=names), FLOWER)
    async with kernel_of(model(saved(estimator), "xgboost")) as kernel:
        inputs = [
            tensor_request("m", IRIS[:5, number : number + 1], name=name).inputs[0]
            for number, name in reversed(list(enumerate(names)))
        ]
        found = await ask(kernel, InferenceRequest(inputs=inputs), "predict_proba", "predict_leaf")
        assert_identical(found["predict_proba"], estimator.predict_proba(IRIS[:5]))
        with pytest.raises(InputsNotFound, match="needs the inputs d"):
            await ask(kernel, InferenceRequest(inputs=inputs[1:]))
        short = RequestInput("d", [2], "FP32", np.zeros(2, np.float32))
        with pytest.raises(InferenceError, match=r'input "d": shape .* rows'):
            await ask(kernel, InferenceRequest(inputs=[short, *inputs[1:]]))


async def test_missing_values_are_what_the_settings_say(saved: Any) -> None:
    rows = np.where(np.random.default_rng(1).random(CANCER.shape) < 0.2, np.nan, CANCER)
    estimator = trained().fit(rows, BENIGN)
    expected = estimator.predict_proba(rows)
    async with kernel_of(model(saved(estimator), "xgboost")) as kernel:
        assert_identical((await ask(kernel, rows, "predict_proba"))["predict_proba"], expected)
    async with kernel_of(model(saved(estimator), "xgboost", {"missing": -1})) as kernel:
        marked = np.where(np.isnan(rows), -1, rows)
        assert_identical((await ask(kernel, marked, "predict_proba"))["predict_proba"], expected)


async def test_the_metadata_comes_from_the_artifact(saved: Any) -> None:
    async with kernel_of(model(saved(trained().fit(IRIS, FLOWER)), "xgboost")) as kernel:
        metadata = kernel.model_metadata("m")
        assert metadata.platform == "xgboost"
        assert [(tensor.name, str(tensor.datatype), tensor.shape) for tensor in metadata.inputs] == [
            ("input-1", "FP32", [-1, 4])
        ]
        found = await kernel.infer(asking(ROWS, *(tensor.name for tensor in metadata.outputs)))
        for declared, output in zip(metadata.outputs, found.outputs, strict=True):
            assert declared.datatype == output.datatype
            assert declared.shape[1] in (-1, output.shape[1])


async def test_inputs_that_do_not_fit_the_model_are_refused(saved: Any) -> None:
    async with kernel_of(model(saved(trained().fit(IRIS, FLOWER)), "xgboost")) as kernel:
        for values in (ROWS[:, :3], np.hstack([ROWS, ROWS]), ROWS[0]):
            with pytest.raises(InferenceError, match="takes 4 features, but the input has"):
                await ask(kernel, values)
        with pytest.raises(InferenceError, match=r"not the shape \[1, 3, 4\]"):
            await ask(kernel, ROWS[None])
        texts = text_request("m", ["a", "b", "c", "d"])
        texts.inputs[0].shape = [1, 4]
        with pytest.raises(InferenceError, match="refuses the input: could not convert string to float"):
            await ask(kernel, texts)
        with pytest.raises(OutputNotFound, match='no output "transform"'):
            await ask(kernel, ROWS, "transform")
        assert list(await ask(kernel, ROWS)) == ["predict"]


async def test_settings_of_the_runtime(saved: Any) -> None:
    path = saved(trained().fit(IRIS, FLOWER))
    async with kernel_of(model(path, "xgboost", {"predict_fn": "predict_proba", "threads": 1})) as kernel:
        assert list(await ask(kernel, ROWS)) == ["predict_proba"]
    for extra, text in [
        ({"threads": "two"}, "extra.threads must be an integer, not 'two'"),
        ({"threads": 0}, "extra.threads must be at least 1, not 0"),
        ({"missing": "NA"}, "extra.missing must be a number, not 'NA'"),
        ({"predict_fn": "transform"}, "predict_fn is 'transform', but the model has predict, predict_proba"),
    ]:
        assert text in await reason(model(path, "xgboost", extra))


async def test_unusable_artifacts_say_what_to_do(
    saved: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "is neither a file nor a folder" in await reason(model(tmp_path / "gone", "xgboost"))
    assert "has no artifact of XGBoost (model.json, " in await reason(model(tmp_path, "xgboost"))
    path = saved(trained().fit(IRIS, FLOWER))
    whole = path.read_bytes()
    binary = bytes(trained().fit(IRIS, FLOWER).get_booster().save_raw("ubj"))
    halves = [whole[: len(whole) // 2], binary[:200], binary[: len(binary) // 2]]
    damaged = whole.replace(b'"gradient_booster"', b'"gradient_rooster"')
    for broken in (b"", b"junk", b"{}", b'{"learner": 3}', b"tree\nversion=v4\n", damaged, *halves):
        path.write_bytes(broken)
        found = await reason(model(path, "xgboost"))
        assert f"{path} cannot be read as a model of XGBoost (" in found
        assert "save it again with save_model" in found
        assert "Stack trace" not in found
    newer = json.loads(whole)
    newer["version"] = [99, 0, 0]
    path.write_text(json.dumps(newer))
    async with kernel_of(model(path, "xgboost")) as kernel:
        assert kernel.ready
    assert f"{path} was saved by XGBoost 99, newer than {xgboost.__version__}" in caplog.text
    newer["learner"]["gradient_booster"] = {"name": "unheard-of"}
    path.write_text(json.dumps(newer))
    assert "was saved by XGBoost 99, but" in await reason(model(path, "xgboost"))
    path.write_bytes(binary)
    async with kernel_of(model(path, "xgboost")) as kernel:
        assert kernel.ready


async def test_values_that_are_no_category_are_refused(saved: Any) -> None:
    frame = mixed_frame()
    target = (frame["colour"] == "red") * 4
    regressor = xgboost.XGBRegressor(n_estimators=4, enable_categorical=True).fit(frame, target)
    async with kernel_of(model(saved(regressor), "xgboost")) as kernel:
        few = frame.head(2).assign(colour=["red", "pink"])
        with pytest.raises(
            InferenceError, match=r'"colour": pink is not among the categories blue, green, red'
        ):
            await ask(kernel, frame_request(few))
        with pytest.raises(InferenceError, match=r'"colour": 1 was sent, but its categories are texts'):
            await ask(kernel, frame_request(few.assign(colour=[1, 2])))


async def test_codes_are_taken_where_the_file_has_no_categories(saved: Any) -> None:
    rows = np.array([[0, 0.5], [1, 0.1], [2, 0.3]] * 20, np.float32)
    types = ["c", "float"]
    table = xgboost.DMatrix(
        rows,
        label=rows[:, 0] == 1,
        feature_names=["colour", "size"],
        feature_types=types,
        enable_categorical=True,
    )
    booster = xgboost.train({"max_depth": 2}, table, 4)
    expected = booster.predict(table)[:3, None]
    async with kernel_of(model(saved(booster), "xgboost")) as kernel:
        declared = kernel.model_metadata("m").inputs
        assert [str(tensor.datatype) for tensor in declared] == ["INT64", "FP32"]
        columns = [
            RequestInput("colour", [3, 1], "INT64", [0, 1, 2]),
            RequestInput("size", [3, 1], "FP32", rows[:3, 1]),
        ]
        assert_identical((await ask(kernel, InferenceRequest(inputs=columns)))["predict"], expected)
        assert_identical((await ask(kernel, rows[:3]))["predict"], expected)


async def test_the_classes_of_columns_are_told(saved: Any) -> None:
    async with kernel_of(model(saved(trained().fit(IRIS, FLOWER)), "xgboost")) as kernel:
        response = await kernel.infer(asking(ROWS, "predict_proba"))
        assert response.outputs[0].parameters.get("labels") == ["0", "1", "2"]
        declared = {tensor.name: tensor.parameters for tensor in kernel.model_metadata("m").outputs}
        assert declared["predict_proba"].get("labels") == ["0", "1", "2"]
