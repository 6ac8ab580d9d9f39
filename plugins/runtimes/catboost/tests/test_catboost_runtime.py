"""Models trained and saved here, served by a kernel, and compared with CatBoost itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from mlsrv import ModelSettings
from mlsrv.codecs import PandasCodec
from mlsrv.errors import InferenceError, InputsNotFound, OutputNotFound
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_catboost import CatboostModel
from mlsrv_testing.contracts import RuntimeContract
from served import ask, asking, assert_identical, assert_same_over_every_wire, kernel_of, model, reason

IRIS, FLOWER = load_iris(return_X_y=True)
CANCER, BENIGN = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
NAMES = load_iris().target_names[FLOWER]
ROWS = np.ascontiguousarray(IRIS[[0, 60, 140]])


def options(**more: Any) -> dict[str, Any]:
    return {"iterations": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1} | more


def classifier(rows: Any = IRIS, target: Any = NAMES, **more: Any) -> catboost.CatBoostClassifier:
    return catboost.CatBoostClassifier(**options(**more)).fit(rows, target)


def saved(trained: Any, path: Path) -> Path:
    trained.save_model(str(path), format="json" if path.suffix == ".json" else "cbm")
    return path


def mixed() -> tuple[pd.DataFrame, Any]:
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "size": np.where(random.random(200) < 0.2, np.nan, random.random(200)),
            "colour": random.choice(["red", "green", "blue"], 200),
            "words": random.choice(["a good day", "such a bad day", "so so"], 200),
            "code": random.integers(0, 5, 200),
        }
    )
    return frame, (frame["colour"] == "red") * 2 + (frame["words"] == "so so")


class TestContract(RuntimeContract):
    def settings(self, tmp_path: Path) -> ModelSettings:
        return model(saved(classifier(), tmp_path / "model.cbm"), "catboost")

    def requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS), asking(tensor_request("m", ROWS[:1]), "predict_leaf", "predict")]

    def bad_requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS[:, :2]), tensor_request("m", np.hstack([ROWS, ROWS]))]


@pytest.mark.parametrize("workers", [0, 1])
async def test_the_same_numbers_over_every_wire(tmp_path: Path, workers: int) -> None:
    trained = classifier()
    expected = {
        "predict": trained.predict(ROWS),
        "predict_proba": trained.predict_proba(ROWS),
        "predict_raw": trained.predict(ROWS, prediction_type="RawFormulaVal"),
        "predict_leaf": trained.calc_leaf_indexes(ROWS),
    }
    settings = model(saved(trained, tmp_path / "model.cbm"), "catboost")
    await assert_same_over_every_wire(settings, workers, ROWS, expected)


@pytest.mark.parametrize(
    "file", ["model.cbm", "model.bin", "model.json", "iris.cbm", "iris.bin", "iris.json"]
)
async def test_the_artifact_is_found_and_chooses_the_runtime(tmp_path: Path, file: str) -> None:
    trained = classifier()
    path = saved(trained, tmp_path / file)
    (tmp_path / "model-settings.json").write_text("{}")
    for where in (path, tmp_path):
        async with kernel_of(model(where, None)) as kernel:
            assert kernel.problems() == []
            found = await ask(kernel, IRIS, "predict", "predict_proba")
    # JSON rounds the last bits, so CatBoost itself reads the file, too.
    itself = catboost.CatBoostClassifier().load_model(str(path), "json" if path.suffix == ".json" else "cbm")
    assert_identical(found["predict"], itself.predict(IRIS))
    assert_identical(found["predict_proba"], itself.predict_proba(IRIS))


@pytest.mark.parametrize(
    "name", ["mlserver_catboost.CatboostModel", "mlsrv_catboost.CatboostModel", CatboostModel]
)
async def test_every_name_of_the_runtime_is_known(tmp_path: Path, name: Any) -> None:
    async with kernel_of(model(saved(classifier(), tmp_path / "m.cbm"), name)) as kernel:
        assert kernel.ready


@pytest.mark.parametrize(
    "loss", ["RMSE", "Poisson", "RMSEWithUncertainty", "MultiRMSE", "Quantile:alpha=0.3"]
)
async def test_regressors(tmp_path: Path, loss: str) -> None:
    target = np.column_stack([PROGRESS, PROGRESS % 7]) if loss == "MultiRMSE" else PROGRESS
    trained = catboost.CatBoostRegressor(**options(loss_function=loss)).fit(DIABETES, target)
    async with kernel_of(model(saved(trained, tmp_path / "model.cbm"), "catboost")) as kernel:
        found = (await ask(kernel, DIABETES))["predict"]
        assert_identical(found, trained.predict(DIABETES).reshape(len(DIABETES), -1))
        with pytest.raises(OutputNotFound, match='no output "predict_proba"; it has predict'):
            await ask(kernel, DIABETES, "predict_proba")


async def test_classifiers_and_rankers(tmp_path: Path) -> None:
    path = tmp_path / "model.cbm"
    several = np.column_stack([FLOWER == 0, FLOWER > 0]).astype(int)
    for trained, rows in [
        (classifier(CANCER, BENIGN), CANCER),
        (classifier(CANCER, BENIGN == 1), CANCER),
        (classifier(IRIS, several, loss_function="MultiLogloss"), IRIS),
        (classifier(IRIS, FLOWER / 2, loss_function="CrossEntropy"), IRIS),
    ]:
        async with kernel_of(model(saved(trained, path), "catboost")) as kernel:
            found = await ask(kernel, rows, "predict", "predict_proba")
            wanted = trained.predict(rows).reshape(len(rows), -1)
            if wanted.dtype == object or wanted.dtype.kind == "U":
                wanted = wanted == "True"
            assert_identical(found["predict"], wanted)
            assert_identical(found["predict_proba"], trained.predict_proba(rows))
            metadata = kernel.model_metadata("m")
            response = await kernel.infer(asking(rows, *(tensor.name for tensor in metadata.outputs)))
            for declared, output in zip(metadata.outputs, response.outputs, strict=True):
                assert declared.datatype == output.datatype
                assert declared.shape[1] in (-1, output.shape[1])
    groups = np.repeat(np.arange(15), 10)
    ranker = catboost.CatBoostRanker(**options(bootstrap_type="No")).fit(
        catboost.Pool(IRIS, FLOWER, group_id=groups)
    )
    async with kernel_of(model(saved(ranker, path), "catboost")) as kernel:
        assert_identical((await ask(kernel, IRIS))["predict"], ranker.predict(IRIS)[:, None])


async def test_frames_with_categories_texts_and_missing_values(tmp_path: Path) -> None:
    frame, target = mixed()
    trained = classifier(frame, target, cat_features=["colour", "code"], text_features=["words"])
    few = frame.head(9)
    expected = trained.predict_proba(few)
    async with kernel_of(model(saved(trained, tmp_path / "model.cbm"), "catboost")) as kernel:
        assert [(tensor.name, str(tensor.datatype)) for tensor in kernel.model_metadata("m").inputs] == [
            ("size", "FP32"),
            ("colour", "BYTES"),
            ("words", "BYTES"),
            ("code", "BYTES"),
        ]
        for sent in (few, few[["words", "code", "size", "colour"]]):
            request = PandasCodec.encode_request(sent)
            assert_identical((await ask(kernel, request, "predict_proba"))["predict_proba"], expected)
        columns = InferenceRequest(inputs=PandasCodec.encode_request(few).inputs)
        assert_identical((await ask(kernel, columns, "predict_proba"))["predict_proba"], expected)
        with pytest.raises(
            InputsNotFound, match="needs the inputs colour; it takes code, colour, size, words"
        ):
            await ask(kernel, PandasCodec.encode_request(few.drop(columns="colour")))
        with pytest.raises(InputsNotFound, match="does not know the inputs more"):
            await ask(kernel, PandasCodec.encode_request(few.assign(more=1)))
        with pytest.raises(
            InferenceError, match=r"takes 4 features \(size, colour, words, code\), but .* has 2"
        ):
            await ask(kernel, np.zeros((2, 2)))
        with pytest.raises(InferenceError, match=r"refuses the input: .*Cannot convert"):
            await ask(kernel, PandasCodec.encode_request(few.assign(size="large")))
        texts = [[b"0.5", b"red", b"so so", b"1"], ["0.5", "red", "so so", "1"]]
        tensor = RequestInput("t", [2, 4], "BYTES", [cell for row in texts for cell in row])
        found = (await ask(kernel, InferenceRequest(inputs=[tensor]), "predict_proba"))["predict_proba"]
        assert found[0].tolist() == found[1].tolist()


async def test_the_metadata_of_features_without_names(tmp_path: Path) -> None:
    async with kernel_of(model(saved(classifier(), tmp_path / "m.cbm"), "catboost")) as kernel:
        [tensor] = kernel.model_metadata("m").inputs
        assert (tensor.name, str(tensor.datatype), tensor.shape) == ("input-1", "FP32", [-1, 4])
        assert kernel.model_metadata("m").platform == "catboost"


async def test_inputs_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    async with kernel_of(
        model(saved(classifier(), tmp_path / "m.cbm"), "catboost", {"threads": 1})
    ) as kernel:
        for values in (ROWS[:, :3], np.hstack([ROWS, ROWS]), ROWS[0][:3], ROWS[:, 0]):
            with pytest.raises(InferenceError, match="takes 4 features, but the input has"):
                await ask(kernel, values)
        with pytest.raises(OutputNotFound, match='no output "transform"'):
            await ask(kernel, ROWS, "transform")
        assert list(await ask(kernel, ROWS)) == ["predict"]


async def test_a_row_may_come_without_the_dimension_of_rows(tmp_path: Path) -> None:
    async with kernel_of(model(saved(classifier(), tmp_path / "m.cbm"), "catboost")) as kernel:
        row, table = await ask(kernel, ROWS[0], "predict_proba"), await ask(kernel, ROWS[:1], "predict_proba")
        np.testing.assert_array_equal(row["predict_proba"], table["predict_proba"])


async def test_unusable_artifacts_say_what_to_do(tmp_path: Path) -> None:
    assert "has no artifact of CatBoost (model.cbm, " in await reason(model(tmp_path, "catboost"))
    for form in ("cbm", "json"):
        path = saved(classifier(), tmp_path / f"model.{form}")
        whole = path.read_bytes()
        for broken in (b"", b"junk", b"{}", b'{"learner": {}}', whole[:20], whole[: len(whole) // 2]):
            path.write_bytes(broken)
            found = await reason(model(path, "catboost"))
            assert f"{path} cannot be read as a model of CatBoost in the form {form} (" in found
            assert "save it again with save_model" in found
    content = json.loads(whole)
    del content["oblivious_trees"]
    path.write_text(json.dumps(content))
    assert "it has no trees" in await reason(model(path, "catboost"))
    wrong = model(saved(classifier(), tmp_path / "m.cbm"), "catboost", {"predict_fn": "transform"})
    assert "predict_fn is 'transform', but the model has predict, predict_proba" in await reason(wrong)


async def test_categories_that_are_numbers_keep_their_values_in_every_form(tmp_path: Path) -> None:
    shops = [2**60, 2**60 + 1, 2**60 + 2]
    frame = pd.DataFrame({"shop": shops * 20, "x": np.linspace(0, 1, 60)})
    target = (frame["shop"] == shops[1]) * 5.0
    settings = options(cat_features=["shop"], one_hot_max_size=3)
    regressor = catboost.CatBoostRegressor(**settings).fit(frame, target)
    expected = regressor.predict(frame.head(3))[:, None]
    async with kernel_of(model(saved(regressor, tmp_path / "m.cbm"), "catboost")) as kernel:
        x = RequestInput("x", [3, 1], "FP32", frame["x"].head(3).to_numpy(np.float32))
        for column in (
            RequestInput("shop", [3, 1], "INT64", shops),
            RequestInput("shop", [3, 1], "BYTES", list(map(str, shops))),
        ):
            found = await ask(kernel, InferenceRequest(inputs=[x, column]))
            assert_identical(found["predict"], expected)
    small = frame.assign(shop=[10, 20, 30] * 20)
    regressor = catboost.CatBoostRegressor(**settings).fit(small, target)
    expected = regressor.predict(small.head(3))[:, None]
    async with kernel_of(model(saved(regressor, tmp_path / "m.cbm"), "catboost")) as kernel:
        floats = PandasCodec.encode_request(small.head(3).astype({"shop": float}))
        assert_identical((await ask(kernel, floats))["predict"], expected)
        half = PandasCodec.encode_request(small.head(3).assign(shop=[10.5, 20.0, np.nan]))
        with pytest.raises(InferenceError, match="must be integer or string"):
            await ask(kernel, half)


async def test_the_classes_of_columns_are_told(tmp_path: Path) -> None:
    async with kernel_of(model(saved(classifier(), tmp_path / "m.cbm"), "catboost")) as kernel:
        response = await kernel.infer(asking(IRIS[:2], "predict_proba"))
        assert response.outputs[0].parameters.get("labels") == ["setosa", "versicolor", "virginica"]
        declared = {tensor.name: tensor.parameters for tensor in kernel.model_metadata("m").outputs}
        assert declared["predict_proba"].get("labels") == ["setosa", "versicolor", "virginica"]


@pytest.mark.parametrize("file", ["m.cbm", "m.json"])
async def test_a_boolean_category_takes_booleans_and_their_digits_but_no_words(
    tmp_path: Path, file: str
) -> None:
    truth, words = np.arange(60) % 2 == 0, np.array(["False", "True"])[np.arange(60) // 3 % 2]
    frame = pd.DataFrame({"truth": truth, "word": words, "size": np.arange(60.0)})
    estimator = catboost.CatBoostRegressor(
        iterations=5, cat_features=["truth", "word"], allow_writing_files=False, verbose=0
    ).fit(frame, truth * 5 + (words == "True") * 3)
    few = frame.iloc[:4]

    def columns(datatype: str, data: Any) -> InferenceRequest:
        sizes = RequestInput("size", [4], "FP64", few["size"].to_numpy())
        texts = RequestInput("word", [4], "BYTES", few["word"].tolist())
        return InferenceRequest([RequestInput("truth", [4], datatype, data), texts, sizes])

    expected = estimator.predict(few)[:, None]
    async with kernel_of(model(saved(estimator, tmp_path / file), "catboost")) as kernel:
        for request in (
            columns("BOOL", few["truth"].to_numpy()),
            columns("INT64", few["truth"].to_numpy(np.int64)),
            columns("BYTES", few["truth"].astype(int).astype(str).tolist()),
            PandasCodec.encode_request(few),
        ):
            np.testing.assert_allclose((await ask(kernel, request))["predict"], expected)
        for request in (
            columns("BYTES", few["truth"].astype(str).tolist()),
            PandasCodec.encode_request(few.assign(truth=few["truth"].astype(str).str.lower())),
        ):
            with pytest.raises(
                InferenceError, match=r'"truth": "[Ff]alse" was sent, but its categories are 0 and 1'
            ):
                await ask(kernel, request)
