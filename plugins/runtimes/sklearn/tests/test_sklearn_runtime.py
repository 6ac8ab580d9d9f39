"""Estimators fitted and saved here, served by a kernel."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import NMF, PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

import mlsrv_numpy.plugin
import mlsrv_pandas.plugin
import mlsrv_sklearn.runtime
from mlsrv import Kernel, ModelSettings
from mlsrv.codecs import NumpyCodec, PandasCodec
from mlsrv.errors import Code, InferenceError, MLSrvError, ModelFailed, OutputNotFound
from mlsrv.testing import tensor_request, text_request
from mlsrv.types import (
    InferenceRequest,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_sklearn import SKLearnModel, plugin
from mlsrv_sklearn.results import MAX_DENSE

X, Y = load_iris(return_X_y=True)
NAMES = load_iris().target_names[Y]
ROWS = X[[0, 60, 140]]


class Odd(BaseEstimator):
    """An estimator that does not follow scikit-learn's conventions, and returns what it is told to."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def predict(self, values: Any) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@asynccontextmanager
async def serving(
    artifact: Path | str, *plugins: object, extra: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Kernel]:
    """A kernel with the model "m" of an artifact."""
    model = ModelSettings(
        name="m",
        implementation=settings.pop("implementation", "sklearn"),
        parameters={"uri": str(artifact), "extra": extra or {}},
        **settings,
    )
    kernel = Kernel(models=[model], plugins=[mlsrv_numpy.plugin, plugin, *plugins], discover=False)
    async with kernel:
        await kernel.loaded()
        yield kernel


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    def save(estimator: Any) -> Path:
        path = tmp_path / "model.joblib"
        joblib.dump(estimator, path)
        return path

    return save


async def ask(kernel: Kernel, values: Any, *outputs: str) -> dict[str, Any]:
    """The decoded outputs by name."""
    request = values if isinstance(values, InferenceRequest) else tensor_request("m", values)
    request.outputs = [RequestOutput(name) for name in outputs] or None
    response = await kernel.infer(request)
    assert response.model_name == "m"
    return {output.name: NumpyCodec.decode_output(output) for output in response.outputs}


async def reason(artifact: Path | str, **settings: Any) -> str:
    """Why a model cannot be loaded."""
    async with serving(artifact, **settings) as kernel:
        assert not kernel.ready
        text = kernel.handle("m").reason
        assert "\n" not in text
        return text


# --- artifacts ---


def as_joblib(estimator: Any, path: Path) -> None:
    joblib.dump(estimator, path, compress=3)


def as_pickle(estimator: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(estimator))


def as_skops(estimator: Any, path: Path) -> None:
    skops.io.dump(estimator, path)


@pytest.mark.parametrize(
    ("file", "save"),
    [
        ("model.joblib", as_joblib),
        ("model.pickle", as_pickle),
        ("model.pkl", as_pickle),
        ("model.skops", as_skops),
        ("mnist-svm.joblib", as_joblib),
        ("other.SKOPS", as_skops),
        ("no-suffix", as_joblib),
    ],
)
async def test_every_form_of_artifact_is_read(tmp_path: Path, file: str, save: Any) -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cg")).fit(X, Y)
    save(estimator, tmp_path / file)
    async with serving(tmp_path / file) as kernel:
        assert (await ask(kernel, ROWS))["predict"].tolist() == [[0], [1], [2]]


class Armed:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self._trace,)


@pytest.mark.parametrize(("safe", "other"), [("model.skops", "model.joblib"), ("iris.skops", "iris.joblib")])
async def test_the_form_that_runs_no_code_is_preferred(tmp_path: Path, safe: str, other: str) -> None:
    as_skops(LogisticRegression(solver="newton-cg").fit(X, Y), tmp_path / safe)
    joblib.dump(Armed(tmp_path / "trace"), tmp_path / other)
    async with serving(tmp_path) as kernel:
        assert len((await ask(kernel, ROWS))["predict"]) == 3
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("file", ["model.joblib", "model.skops", "iris-2.pkl"])
async def test_the_artifact_is_found_in_a_folder_and_chooses_the_runtime(tmp_path: Path, file: str) -> None:
    save = as_skops if file.endswith("skops") else as_pickle
    save(LogisticRegression(solver="newton-cg").fit(X, Y), tmp_path / file)
    (tmp_path / "model-settings.json").write_text("{}")
    async with serving(tmp_path, implementation=None) as kernel:
        assert kernel.ready
        assert kernel.model_metadata("m").platform == "sklearn"


@pytest.mark.parametrize(
    "implementation",
    [
        "mlserver_sklearn.SKLearnModel",
        "mlsrv_sklearn.SKLearnModel",
        "mlsrv_sklearn:SKLearnModel",
        SKLearnModel,
    ],
)
async def test_every_name_of_the_runtime_is_known(saved: Any, implementation: Any) -> None:
    async with serving(saved(LinearRegression().fit(X, Y)), implementation=implementation) as kernel:
        assert kernel.ready


async def test_unusable_artifacts_say_what_to_do(tmp_path: Path) -> None:
    assert "is neither a file nor a folder" in await reason(tmp_path / "gone")
    found = await reason(tmp_path)
    assert f"the folder {tmp_path} has no artifact of scikit-learn (model.skops, model.joblib, " in found
    assert "is not local" in await reason("s3://bucket/model.joblib")
    path = tmp_path / "model.joblib"
    whole = pickle.dumps(LogisticRegression(solver="newton-cg").fit(X, Y))
    for broken in (b"", b"junk", whole[: len(whole) // 2], b"PK\x03\x04"):
        path.write_bytes(broken)
        found = await reason(path)
        assert f"{path} cannot be read as a joblib or pickle file (" in found
        assert "save the fitted estimator again" in found
    path.write_bytes(whole.replace(b"sklearn.linear_model._logistic", b"no_such_pack.linear_model._log"))
    assert f"{path} needs the module no_such_pack, which cannot be imported here" in await reason(path)
    path.write_bytes(whole.replace(b"LogisticRegression", b"LogisticRegressioX"))
    found = await reason(path)
    assert "needs something that cannot be imported here" in found
    assert "LogisticRegressioX" in found
    path = tmp_path / "model.skops"
    for broken in (b"", b"junk", whole):
        path.write_bytes(broken)
        assert f"{path} cannot be read as a skops file (" in await reason(path)


async def test_an_artifact_that_is_no_estimator_is_refused(saved: Any) -> None:
    assert (
        "holds a dict, which has no predict, predict_proba, transform or decision_function"
        in await reason(saved({"model": LogisticRegression(solver="newton-cg").fit(X, Y)}))
    )
    assert "holds a NearestNeighbors" in await reason(saved(NearestNeighbors().fit(X)))
    assert "the LogisticRegression is not fitted" in await reason(
        saved(LogisticRegression(solver="newton-cg"))
    )
    assert "the SVC is not fitted" in await reason(saved(make_pipeline(StandardScaler(), SVC())))


async def test_skops_types_that_are_not_known_must_be_trusted(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    skops.io.dump(Odd(np.array([7])), path)
    unknown = f"{Odd.__module__}.Odd"
    found = await reason(path)
    assert f"holds the types {unknown}, which are not known to be safe" in found
    assert "parameters.extra.trusted_types" in found
    async with serving(path, extra={"trusted_types": [unknown]}) as kernel:
        assert (await ask(kernel, ROWS))["predict"].tolist() == [[7]]
    for wrong in (unknown, [1], {"a": 1}):
        assert "trusted_types must be a list" in await reason(path, extra={"trusted_types": wrong})


async def test_another_version_of_scikit_learn_is_told(tmp_path: Path) -> None:
    import sklearn

    path = tmp_path / "model.pkl"
    older = sklearn.__version__[:-1] + ("0" if sklearn.__version__[-1] != "0" else "1")
    whole = pickle.dumps(LogisticRegression(solver="newton-cg").fit(X, Y))
    path.write_bytes(whole.replace(sklearn.__version__.encode(), older.encode()))
    with pytest.warns(InconsistentVersionWarning, match=f"LogisticRegression from version {older}"):
        async with serving(path) as kernel:
            assert kernel.ready


async def test_without_the_numpy_codec_the_model_says_what_it_needs(saved: Any) -> None:
    path = saved(LogisticRegression(solver="newton-cg").fit(X, Y))
    model = ModelSettings(name="m", implementation="sklearn", parameters={"uri": str(path)})
    async with Kernel(models=[model], plugins=[plugin], discover=False) as kernel:
        await kernel.loaded()
        assert "pip install mlsrv-numpy" in kernel.handle("m").reason


# --- outputs ---


async def test_outputs_are_what_the_request_asks_for(saved: Any) -> None:
    estimator = LogisticRegression(solver="newton-cg").fit(X, Y)
    async with serving(saved(estimator)) as kernel:
        found = await ask(kernel, ROWS)
        assert list(found) == ["predict"]
        assert found["predict"].dtype == np.int64
        assert found["predict"].shape == (3, 1)
        found = await ask(kernel, ROWS, "decision_function", "predict_proba", "predict")
        assert list(found) == ["decision_function", "predict_proba", "predict"]
        np.testing.assert_array_equal(found["predict_proba"], estimator.predict_proba(ROWS))
        np.testing.assert_array_equal(found["decision_function"], estimator.decision_function(ROWS))


@pytest.mark.parametrize(
    ("estimator", "outputs"),
    [
        (LinearRegression(), ["predict"]),
        (SVC(), ["predict", "decision_function"]),
        (KNeighborsClassifier(), ["predict", "predict_proba"]),
        (PCA(), ["transform"]),
        (KMeans(3, n_init=1), ["predict", "transform"]),
        (make_pipeline(StandardScaler(), LinearRegression()), ["predict"]),
        (
            make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cg")),
            ["predict", "predict_proba", "decision_function"],
        ),
        (make_pipeline(StandardScaler(), PCA()), ["transform"]),
        (make_pipeline(StandardScaler(), "passthrough"), ["transform"]),
        (GridSearchCV(SVC(), {"C": [1.0]}, cv=2), ["predict", "decision_function"]),
        (make_pipeline(PCA(2), GridSearchCV(LinearRegression(), {}, cv=2)), ["predict"]),
    ],
    ids=repr,
)
async def test_the_last_step_decides_which_outputs_there_are(
    saved: Any, estimator: Any, outputs: list[str]
) -> None:
    async with serving(saved(estimator.fit(X, Y))) as kernel:
        assert list(await ask(kernel, ROWS)) == outputs[:1]
        assert list(await ask(kernel, ROWS, *outputs)) == outputs
        for name in {"predict", "predict_proba", "transform", "decision_function", "fit", "nope"} - {
            *outputs
        }:
            with pytest.raises(
                OutputNotFound, match=f'no output "{name}"; it has {", ".join(sorted(outputs))}'
            ):
                await ask(kernel, ROWS, name)


async def test_predict_fn_is_the_default_output(saved: Any) -> None:
    path = saved(LogisticRegression(solver="newton-cg").fit(X, Y))
    async with serving(path, extra={"predict_fn": "predict_proba"}) as kernel:
        assert list(await ask(kernel, ROWS)) == ["predict_proba"]
        assert list(await ask(kernel, ROWS, "predict")) == ["predict"]
    for wrong in ("transform", "fit", 7):
        assert f"predict_fn is {wrong!r}, but the model has predict, predict_proba, decision_function." in (
            await reason(path, extra={"predict_fn": wrong})
        )


async def test_class_names_are_texts(saved: Any) -> None:
    for labels in (NAMES, NAMES.astype(object)):
        async with serving(saved(LogisticRegression(solver="newton-cg").fit(X, labels))) as kernel:
            response = await kernel.infer(tensor_request("m", ROWS))
            assert response.outputs[0].datatype == "BYTES"
            assert response.outputs[0].data == ["setosa", "versicolor", "virginica"]


async def test_several_targets_give_several_probabilities(saved: Any) -> None:
    targets = np.column_stack([Y, Y == 1])
    estimator = MultiOutputClassifier(LogisticRegression(solver="newton-cg")).fit(X, targets)
    async with serving(saved(estimator)) as kernel:
        found = await ask(kernel, ROWS, "predict_proba", "predict")
        assert {name: array.shape for name, array in found.items()} == {
            "predict_proba-1": (3, 3),
            "predict_proba-2": (3, 2),
            "predict": (3, 2),
        }


async def test_sparse_results_are_sent_densely_up_to_a_size(saved: Any) -> None:
    encoder = OneHotEncoder().fit([[1.0], [2.0], [3.0]])
    async with serving(saved(encoder)) as kernel:
        found = await ask(kernel, np.array([[2.0], [3.0]]))
        assert found["transform"].tolist() == [[0, 1, 0], [0, 0, 1]]
    wide = sparse.csr_matrix((2, MAX_DENSE // 2 + 1))
    async with serving(saved(Odd(wide))) as kernel:
        with pytest.raises(InferenceError, match=r"sparse matrix of 2 x \d+, .*; send fewer rows"):
            await ask(kernel, ROWS)


async def test_a_table_gives_one_output_for_each_column_and_comes_alone(saved: Any) -> None:
    scaler = StandardScaler().set_output(transform="pandas").fit(X)
    async with serving(saved(scaler)) as kernel:
        found = await ask(kernel, ROWS, "transform")
        assert list(found) == ["x0", "x1", "x2", "x3"]
        np.testing.assert_array_equal(np.hstack(list(found.values())), scaler.transform(ROWS).to_numpy())
    clusters = KMeans(3, n_init=1).set_output(transform="pandas").fit(X)
    async with serving(saved(clusters)) as kernel:
        with pytest.raises(InferenceError, match=r"transform gives a table, .* ask for it alone"):
            await ask(kernel, ROWS, "predict", "transform")


async def test_tables_use_a_codec_for_tables_where_there_is_one(saved: Any) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 7.0]})
    scaler = StandardScaler().set_output(transform="pandas").fit(frame)
    async with serving(saved(scaler), mlsrv_pandas.plugin) as kernel:
        request = InferenceRequest(
            model_name="m",
            inputs=[RequestInput(name, [3, 1], "FP64", frame[name].tolist()) for name in ("b", "a")],
            parameters=Parameters(content_type="pd"),
        )
        expected = [column.tolist() for _, column in scaler.transform(frame).items()]
        for _ in range(2):
            response = await kernel.infer(request)
            assert response.parameters is not None
            assert response.parameters.content_type == "pd"
            assert [output.name for output in response.outputs] == ["a", "b"]
            assert [output.data.tolist() for output in response.outputs] == expected
            request.inputs.reverse()
        request.inputs[0].name = "c"
        with pytest.raises(InferenceError, match=r"refuses the input: .*feature names"):
            await kernel.infer(request)


@pytest.mark.parametrize(
    ("result", "datatype", "data"),
    [
        ([1.5, 2.5], "FP64", [1.5, 2.5]),
        (["a", "b"], "BYTES", ["a", "b"]),
        (pd.Series([1, 2]), "INT64", [1, 2]),
        (3, "INT64", [3]),
    ],
    ids=["list", "texts", "series", "scalar"],
)
async def test_other_results_become_arrays(saved: Any, result: Any, datatype: str, data: list[Any]) -> None:
    async with serving(saved(Odd(result))) as kernel:
        response = await kernel.infer(tensor_request("m", ROWS))
        assert response.outputs[0].datatype == datatype
        assert list(response.outputs[0].data) == data


async def test_a_result_without_a_datatype_is_told(saved: Any) -> None:
    async with serving(saved(Odd(np.array([1j])))) as kernel:
        with pytest.raises(ModelFailed, match=r'"predict".*complex128'):
            await ask(kernel, ROWS)


# --- inputs ---


async def test_the_name_of_the_input_does_not_matter(saved: Any) -> None:
    async with serving(saved(LogisticRegression(solver="newton-cg").fit(X, Y))) as kernel:
        for name in ("predict", "input-0", "x"):
            response = await kernel.infer(tensor_request("m", ROWS, name=name))
            assert response.outputs[0].data.tolist() == [0, 1, 2]
        metadata = kernel.model_metadata("m")
        assert (metadata.platform, metadata.inputs, metadata.outputs) == ("sklearn", [], [])


async def test_declared_metadata_stays_and_is_checked(saved: Any) -> None:
    declared = [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}]
    async with serving(
        saved(LogisticRegression(solver="newton-cg").fit(X, Y)), platform="mine", inputs=declared
    ) as kernel:
        metadata = kernel.model_metadata("m")
        assert metadata.platform == "mine"
        assert [tensor.name for tensor in metadata.inputs] == ["x"]
        assert (await ask(kernel, tensor_request("m", ROWS, name="x")))["predict"].size == 3
        with pytest.raises(InferenceError, match="does not know the inputs y"):
            await ask(kernel, tensor_request("m", ROWS, name="y"))


async def test_a_vector_is_a_column_to_an_estimator_of_tables(saved: Any) -> None:
    async with serving(saved(LinearRegression().fit(X[:, :1], X[:, 1]))) as kernel:
        vector = await ask(kernel, ROWS[:, 0])
        column = await ask(kernel, ROWS[:, :1])
        assert vector["predict"].tolist() == column["predict"].tolist()


@pytest.mark.parametrize("by_name", [False, True])
async def test_an_estimator_of_named_columns_gets_them_from_an_array(saved: Any, by_name: bool) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    pick = make_column_transformer(("drop", ["a", "b"]), remainder="passthrough") if by_name else PCA()
    estimator = make_pipeline(pick, LogisticRegression(solver="newton-cg")).fit(frame, Y)
    async with serving(saved(estimator)) as kernel:
        assert (await ask(kernel, ROWS))["predict"].tolist() == [[0], [1], [2]]
        with pytest.raises(InferenceError, match=r"it has 3 features, .* expecting 4 features: a, b, c, d\."):
            await ask(kernel, ROWS[:, :3])


async def test_named_columns_do_without_pandas(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    path = saved(LogisticRegression(solver="newton-cg").fit(frame, Y))
    monkeypatch.setattr(mlsrv_sklearn.runtime, "table_class", lambda: None)
    async with serving(path) as kernel:
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            assert (await ask(kernel, ROWS))["predict"].tolist() == [[0], [1], [2]]


async def test_columns_without_the_plugin_for_tables_are_told_what_to_install(
    saved: Any, caplog: pytest.LogCaptureFixture
) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    request = InferenceRequest(
        model_name="m", inputs=[RequestInput(name, [1], "FP64", [1.0]) for name in frame]
    )
    path = saved(LogisticRegression(solver="newton-cg").fit(frame, Y))
    async with serving(path) as kernel:
        assert "Model m was fitted on a DataFrame" in caplog.text
        with pytest.raises(InferenceError, match=r"inputs are 4: .*needs mlsrv-pandas \(pip install"):
            await kernel.infer(request)
        assert (await ask(kernel, ROWS))["predict"].tolist() == [[0], [1], [2]]
    caplog.clear()
    async with serving(path, mlsrv_pandas.plugin) as kernel:
        assert "DataFrame" not in caplog.text
        assert (await kernel.infer(request)).outputs[0].shape == [1, 1]


@pytest.mark.parametrize("shape", [[2], [2, 1]])
@pytest.mark.parametrize("texts", [["good", "bad"], [b"good", b"bad"]])
async def test_an_estimator_of_texts_takes_texts(saved: Any, shape: list[int], texts: list[Any]) -> None:
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression(solver="newton-cg"))
    estimator.fit(["good", "very good", "bad", "too bad"], ["+", "+", "-", "-"])
    async with serving(saved(estimator)) as kernel:
        request = InferenceRequest(
            model_name="m", inputs=[RequestInput("x", shape, "BYTES", texts)], outputs=[]
        )
        assert (await kernel.infer(request)).outputs[0].data == ["+", "-"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.zeros((2, 3)), "X has 3 features, but LogisticRegression is expecting 4 features"),
        (np.zeros((2, 5), np.float32), "X has 5 features, but LogisticRegression is expecting 4 features"),
        (np.zeros(4), "X has 1 features, but LogisticRegression is expecting 4 features"),
        (np.zeros((2, 2, 2)), "Found array with dim 3"),
        (np.zeros((0, 4)), r"Found array with 0 sample\(s\)"),
        (np.full((1, 4), np.nan), "Input X contains NaN. "),
        (np.full((1, 4), np.inf), "Input X contains infinity"),
    ],
)
async def test_a_value_error_of_the_estimator_is_a_client_error(
    saved: Any, values: Any, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mlsrv_runtime_kit")
    async with serving(saved(LogisticRegression(solver="newton-cg").fit(X, Y))) as kernel:
        with pytest.raises(InferenceError, match=f"^Model m refuses the input: {sentence}") as caught:
            await ask(kernel, values)
        assert caught.value.code is Code.INVALID_ARGUMENT
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
        assert "Traceback" in caplog.text
        assert (await ask(kernel, ROWS))["predict"].size == 3


async def test_other_wrong_inputs_are_the_client_s_fault_too(saved: Any) -> None:
    async with serving(saved(LogisticRegression(solver="newton-cg").fit(X, Y))) as kernel:
        with pytest.raises(InferenceError, match="could not convert string to float"):
            await ask(kernel, text_request("m", ["a", "b"]))
        two = tensor_request("m", ROWS)
        two.inputs.append(RequestInput("other", [1], "FP64", [1.0]))
        with pytest.raises(InferenceError, match="exactly one tensor, but its inputs are 2"):
            await ask(kernel, two)
        short = tensor_request("m", ROWS)
        short.inputs[0].shape = [4, 4]
        with pytest.raises(InferenceError, match=r"do not fill the shape \[4, 4\]"):
            await ask(kernel, short)
        unknown = tensor_request("m", ROWS)
        unknown.inputs[0].parameters = Parameters(content_type="nope")
        with pytest.raises(InferenceError, match='unknown content type "nope"'):
            await ask(kernel, unknown)


async def test_other_errors_of_the_estimator_are_server_errors(saved: Any) -> None:
    for estimator in (Odd(KeyError("lost")), make_pipeline(Odd(0), CountVectorizer())):
        async with serving(saved(estimator)) as kernel:
            with pytest.raises(MLSrvError) as caught:
                await ask(kernel, ROWS)
            assert isinstance(caught.value, ModelFailed) or "not fitted" in str(caught.value)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(solver="newton-cg"),
        SVC(),
        KNeighborsClassifier(),
        RandomForestClassifier(5),
        HistGradientBoostingClassifier(max_iter=5),
    ],
    ids=repr,
)
async def test_buffers_of_the_wire_need_not_be_writable(saved: Any, estimator: Any) -> None:
    async with serving(saved(estimator.fit(X, Y))) as kernel:
        for dtype, datatype in (("<f4", "FP32"), ("<f8", "FP64"), ("<i8", "INT64")):
            flat = np.frombuffer(ROWS.astype(dtype).tobytes(), dtype)
            assert not flat.flags.writeable
            request = InferenceRequest(model_name="m", inputs=[RequestInput("x", [3, 4], datatype, flat)])
            assert (await ask(kernel, request))["predict"].shape == (3, 1)


async def test_the_estimator_sees_the_memory_of_the_request(saved: Any) -> None:
    async with serving(saved(LogisticRegression(solver="newton-cg").fit(X, Y))) as kernel:
        model = kernel.handle("m").loaded().placement._model  # type: ignore[attr-defined]  # the object itself
        seen: list[Any] = []

        def predict(values: Any) -> Any:
            seen.append(values)
            return np.zeros(3)

        model._estimator.predict = predict
        request = tensor_request("m", ROWS)
        response = await kernel.infer(request)
        assert np.shares_memory(seen[0], request.inputs[0].data)
        assert isinstance(response.outputs[0], ResponseOutput)


async def test_requests_at_the_same_time_get_their_own_answers(saved: Any) -> None:
    async with serving(saved(LogisticRegression(solver="newton-cg").fit(X, Y))) as kernel:
        found = await asyncio.gather(*(ask(kernel, X[index : index + 1]) for index in range(len(X))))
        expected = LogisticRegression(solver="newton-cg").fit(X, Y).predict(X)
        assert [int(answer["predict"][0, 0]) for answer in found] == expected.tolist()


async def test_masked_elements_are_missing_or_the_models_fault(saved: Any) -> None:
    async with serving(saved(Odd(np.ma.array([1.5, -999.0], mask=[0, 1])))) as kernel:
        found = await ask(kernel, np.zeros((2, 1)))
        np.testing.assert_array_equal(found["predict"], [[1.5], [np.nan]])
    for values in ([7, 9], [True, False], ["a", "b"]):
        async with serving(saved(Odd(np.ma.array(values, mask=[0, 1])))) as kernel:
            with pytest.raises(ModelFailed, match=r'output "predict": data\[1\] is masked'):
                await ask(kernel, np.zeros((2, 1)))


def columns_of(frame: pd.DataFrame, content_type: str | None = "pd") -> InferenceRequest:
    request = PandasCodec.encode_request(frame)
    request.model_name = "m"
    for tensor in request.inputs:
        tensor.parameters = None
    request.parameters = Parameters(content_type=content_type) if content_type else None
    return request


@pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning")  # of older scikit-learn
@pytest.mark.parametrize("first", [CountVectorizer(), HashingVectorizer(n_features=32)])
async def test_a_column_of_documents_gives_a_row_for_each(saved: Any, first: Any) -> None:
    documents = ["a good film", "a bad film", "good", "bad"]
    pipeline = make_pipeline(first, LogisticRegression()).fit(documents, [1, 0, 1, 0])
    async with serving(saved(pipeline), mlsrv_pandas.plugin) as kernel:
        for rows in (["bad", "good"], ["good"]):
            response = await kernel.infer(columns_of(pd.DataFrame({"text": rows})))
            assert response.outputs[0].data.tolist() == pipeline.predict(rows).tolist()
        two = pd.DataFrame({"text": ["bad", "good"], "more": ["good", "bad"]})
        with pytest.raises(InferenceError, match="takes one column of documents, but the input has 2"):
            await kernel.infer(columns_of(two))


async def test_texts_are_the_same_as_bytes(saved: Any) -> None:
    frame = pd.DataFrame({"colour": ["red", "blue", "grün"] * 4})
    pipeline = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LinearRegression())
    pipeline.fit(frame.to_numpy(dtype=object), [1.0, 2.0, 3.0] * 4)
    async with serving(saved(pipeline)) as kernel:
        for cells in (["red", "grün"], [b"red", "grün".encode()]):
            request = InferenceRequest(model_name="m", inputs=[RequestInput("x", [2, 1], "BYTES", cells)])
            response = await kernel.infer(request)
            np.testing.assert_allclose(response.outputs[0].data, [1.0, 3.0])


async def test_one_tensor_for_each_column_is_a_frame(saved: Any) -> None:
    frame = pd.DataFrame({"colour": ["red", "blue", "green"] * 4, "large": [2**60, 2**60 + 1, 2**60 + 2] * 4})
    encoder = OneHotEncoder(handle_unknown="ignore")
    pipeline = make_pipeline(encoder, LinearRegression()).fit(frame, [1.0, 2.0, 3.0] * 4)
    async with serving(saved(pipeline), mlsrv_pandas.plugin) as kernel:
        response = await kernel.infer(columns_of(frame[["large", "colour"]].head(3), None))
        np.testing.assert_allclose(response.outputs[0].data, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("fitted", ["KMeans", "NMF"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
async def test_models_fitted_in_doubles_take_single_precision(saved: Any, fitted: str) -> None:
    estimator = {"KMeans": KMeans(2, n_init=1, random_state=0), "NMF": NMF(2, random_state=0)}[fitted].fit(X)
    rows = X[:5].astype(np.float32)
    expected = estimator.transform(rows.astype(np.float64))
    async with serving(saved(estimator)) as kernel:
        found = await ask(kernel, rows, "transform")
        np.testing.assert_allclose(found["transform"], expected)


@pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning")  # of older scikit-learn
async def test_values_of_another_type_are_refused(saved: Any) -> None:
    texts = np.array([["a"], ["b"], ["c"]], object)
    encoder = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(texts, [0, 1, 0])
    vectorizer = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a b", "cc dd", "e"], [0, 1, 0])
    for estimator in (encoder, vectorizer):
        async with serving(saved(estimator)) as kernel:
            with pytest.raises(InferenceError, match="refuses the input"):
                await ask(kernel, np.array([[1], [2]]))


class Broken(BaseEstimator):
    def predict(self, X: Any) -> Any:
        return X.no_such_attribute


async def test_a_mistake_in_an_estimator_of_the_author_is_the_models(saved: Any) -> None:
    async with serving(saved(Broken())) as kernel:
        with pytest.raises(ModelFailed, match="no_such_attribute"):
            await ask(kernel, ROWS)


async def test_the_classes_of_columns_are_told(saved: Any) -> None:
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    declared = [{"name": "predict_proba", "datatype": "FP64", "shape": [-1, 3]}]
    estimator = LogisticRegression(solver="newton-cg").fit(X, names)
    async with serving(saved(estimator), outputs=declared) as kernel:
        request = tensor_request("m", ROWS)
        request.outputs = [RequestOutput("predict_proba")]
        response = await kernel.infer(request)
        assert response.outputs[0].parameters is not None
        assert response.outputs[0].parameters.get("labels") == ["setosa", "versicolor", "virginica"]
        [tensor] = kernel.model_metadata("m").outputs
        assert tensor.parameters is not None
        assert tensor.parameters.get("labels") == ["setosa", "versicolor", "virginica"]
