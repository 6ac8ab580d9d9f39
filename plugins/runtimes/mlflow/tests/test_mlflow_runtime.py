"""Models saved by MLflow, served by a kernel, and compared with MLflow itself."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow_models import FLOWERS, SPECIES, save_quietly
from xgboost import XGBClassifier

import mlsrv_mlflow.plugin
import mlsrv_numpy.plugin
import mlsrv_pandas.plugin
import mlsrv_text.plugin
from mlsrv import ModelSettings
from mlsrv.codecs import NumpyCodec, PandasCodec
from mlsrv.errors import (
    CodecNotFound,
    InferenceError,
    InputsNotFound,
    MLSrvError,
    ModelFailed,
    OutputNotFound,
)
from mlsrv.testing import tensor_request, text_request
from mlsrv.types import InferenceRequest, Parameters, RequestInput, RequestOutput
from mlsrv_mlflow import MLflowRuntime, TensorDictCodec
from mlsrv_testing.contracts import RuntimeContract
from served import WIRES, ask, asking, kernel_of, model, served

# Of MLflow, when a class of a model has other type hints than it likes.
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint:UserWarning")


class Word(str, Enum):
    CAT = "cat"


ROWS = FLOWERS.iloc[[0, 60, 140]].reset_index(drop=True)
PLUGINS = [mlsrv_mlflow.plugin, mlsrv_numpy.plugin, mlsrv_pandas.plugin, mlsrv_text.plugin]


def frame_request(frame: pd.DataFrame = ROWS, **parameters: Any) -> InferenceRequest:
    request = PandasCodec.encode_request(frame)
    request.model_name = "m"
    request.parameters = Parameters(**parameters) if parameters else None
    return request


def direct(folder: Path) -> mlflow.pyfunc.PyFuncModel:
    return mlflow.pyfunc.load_model(str(folder))


class MLflowContract(RuntimeContract):
    plugins: ClassVar[Sequence[object]] = PLUGINS
    discover = False
    kind: ClassVar[str]

    @pytest.fixture(autouse=True)
    def _find(self, saved: dict[str, Path]) -> None:
        self.folder = saved[self.kind]

    def settings(self, tmp_path: Path) -> ModelSettings:
        return ModelSettings(name="model", implementation="mlflow", parameters={"uri": str(self.folder)})


class TestColumns(MLflowContract):
    kind = "columns"

    def requests(self) -> list[InferenceRequest]:
        return [
            frame_request(),
            frame_request(ROWS[ROWS.columns[::-1]]),
            asking(frame_request(ROWS[:1]), "species"),
        ]

    def bad_requests(self) -> list[InferenceRequest]:
        return [
            frame_request(ROWS[ROWS.columns[:3]]),
            frame_request(ROWS.assign(more=1.0)),
            frame_request(ROWS.astype(str)),
            tensor_request("m", ROWS.to_numpy()),
            asking(frame_request(), "nope"),
        ]


class TestTensors(MLflowContract):
    kind = "tensors"

    def requests(self) -> list[InferenceRequest]:
        return [tensors_request()]

    def bad_requests(self) -> list[InferenceRequest]:
        short = tensors_request()
        del short.inputs[1]
        flat = tensors_request()
        flat.inputs[0].shape = [2, 4]
        return [short, flat, text_request("m", ["a"])]


class TestWithoutSignature(MLflowContract):
    kind = "bare"

    def requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS.to_numpy()), tensor_request("m", ROWS.to_numpy(np.float32))]

    def bad_requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS.to_numpy()[:, :3]), text_request("m", ["a", "b"])]


def tensors_request() -> InferenceRequest:
    return TensorDictCodec.encode_request(
        {"image": np.arange(8, dtype=np.float32).reshape(2, 2, 2), "words": np.array(["one", "three"])}
    )


# --- over the wires -------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [0, 1])
async def test_the_numbers_of_mlflow_over_every_wire(saved: dict[str, Path], workers: int) -> None:
    expected = direct(saved["columns"]).predict(ROWS).reshape(-1, 1)
    executor = {"executor": "inline"} if not workers else {"parallel_workers": workers}
    async with served([model(saved["columns"], "mlflow")], **executor) as found:
        assert found.kernel.problems() == []
        for wire in WIRES:
            for rows in (slice(None), slice(1, 2)):
                response = await found.infer(wire, asking(frame_request(ROWS[rows]), "species"))
                assert NumpyCodec.decode_output(response.outputs[0]).tolist() == expected[rows].tolist()


@pytest.mark.parametrize("kind", ["columns", "matrix", "bare", "example"])
async def test_scikit_learn(saved: dict[str, Path], kind: str) -> None:
    request = tensor_request("m", ROWS.to_numpy()) if kind in ("matrix", "bare") else frame_request()
    values = ROWS.to_numpy() if kind in ("matrix", "bare") else ROWS
    expected = direct(saved[kind]).predict(values)
    async with kernel_of(model(saved[kind], "mlflow")) as kernel:
        found = await ask(kernel, request)
    name = "species" if kind == "columns" else "output-1"
    assert {key: value.ravel().tolist() for key, value in found.items()} == {name: expected.tolist()}


async def test_xgboost(tmp_path: Path) -> None:
    estimator = XGBClassifier(n_estimators=5, max_depth=3).fit(FLOWERS, SPECIES)
    signature = mlflow.models.infer_signature(FLOWERS, estimator.predict(FLOWERS).astype(np.int64))
    save_quietly(mlflow.xgboost, estimator, tmp_path / "m", signature=signature, pip_requirements=["xgboost"])
    async with kernel_of(model(tmp_path / "m", None)) as kernel:
        assert kernel.problems() == []
        assert kernel.model_metadata("m").platform == "mlflow"
        found = await ask(kernel, frame_request())
    np.testing.assert_array_equal(found["output-1"].ravel(), estimator.predict(ROWS))


# --- inputs ---------------------------------------------------------------------------------------------

CELLS = {
    "flag": ("BOOL", True),
    "small": ("INT32", 1),
    "large": ("INT64", 2**40),
    "single": ("FP32", 1.5),
    "double": ("FP64", 2.5),
    "text": ("BYTES", "täxt"),
    "blob": ("BYTES", "AQI="),
    "when": ("BYTES", "2026-01-02T03:04:05"),
    "list": ("BYTES", "[1, 2]"),
    "map": ("BYTES", '{"k": "v"}'),
    "object": ("BYTES", '{"a": 1}'),
    "any": ("BYTES", '{"x": [1, "b"]}'),
    "note": ("BYTES", "n"),
}


def everything_request(parameters: Any = None, **cells: Any) -> InferenceRequest:
    """A row of every type, without content types: the metadata has them. None leaves an input out."""
    changed = {name: (datatype, cells.get(name, cell)) for name, (datatype, cell) in CELLS.items()}
    inputs = [
        RequestInput(name, [1], datatype, [cell])
        for name, (datatype, cell) in changed.items()
        if cell is not None
    ]
    return InferenceRequest(
        inputs=inputs, model_name="m", parameters=Parameters(**parameters) if parameters else None
    )


async def row_of(kernel: Any, request: InferenceRequest) -> dict[str, Any]:
    response = await kernel.infer(request)
    assert [output.name for output in response.outputs] == ["row", "kinds", "params"]
    frame = PandasCodec.decode_response(response)
    return {name: value if name == "params" else json.loads(value) for name, value in frame.iloc[0].items()}


@pytest.fixture
def everything(saved: dict[str, Path]) -> ModelSettings:
    return model(saved["everything"], "mlflow")


async def test_columns_of_every_type(everything: ModelSettings) -> None:
    async with kernel_of(everything) as kernel:
        found = await row_of(kernel, everything_request())
        assert found["row"] == {
            "flag": True,
            "small": 1,
            "large": 2**40,
            "single": 1.5,
            "double": 2.5,
            "text": "täxt",
            "blob": "b'\\x01\\x02'",
            "when": "2026-01-02 03:04:05",
            "list": [1, 2],
            "map": {"k": "v"},
            "object": {"a": 1},
            "any": {"x": [1, "b"]},
            "note": "n",
        }
        kinds = {
            name: found["kinds"][name] for name in ("flag", "small", "large", "single", "double", "when")
        }
        assert list(kinds.values()) == ["bool", "int32", "int64", "float32", "float64", "datetime64[ns]"]


async def test_optional_columns_may_be_left_out(everything: ModelSettings) -> None:
    async with kernel_of(everything) as kernel:
        assert "note" not in (await row_of(kernel, everything_request(note=None)))["row"]
        with pytest.raises(InputsNotFound, match="needs the inputs text; it takes any, blob, double"):
            await kernel.infer(everything_request(text=None))


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"when": "soon"}, "soon|ISO 8601|date"),
        ({"when": "2026-01-02T03:04:05+00:00"}, "timezone-naive"),
        ({"blob": "?"}, "base64"),
        ({"list": '"text"'}, r"Expected data to be list|list or numpy array"),
        ({"map": "{"}, "is not JSON"),
        ({"object": '{"b": 1}'}, "Missing required properties|not defined in the schema"),
    ],
)
async def test_cells_that_do_not_fit(everything: ModelSettings, cells: dict[str, str], sentence: str) -> None:
    async with kernel_of(everything) as kernel:
        with pytest.raises(InferenceError, match=sentence) as caught:
            await kernel.infer(everything_request(**cells))
        assert "\n" not in str(caught.value)
        await row_of(kernel, everything_request())


async def test_a_wrong_type_is_told_without_the_data(saved: dict[str, Path]) -> None:
    async with kernel_of(model(saved["columns"], "mlflow")) as kernel:
        with pytest.raises(InferenceError) as caught:
            await kernel.infer(frame_request(ROWS.astype(str)))
        assert str(caught.value) == (
            "Model m refuses the input: Incompatible input types for column sepal length (cm). "
            "Can not safely convert str to float64."
        )


async def test_params(everything: ModelSettings) -> None:
    async with kernel_of(everything) as kernel:
        assert [param["name"] for param in kernel.model_metadata("m").parameters.params] == [
            "scale",
            "count",
            "names",
        ]
        default = {"scale": 1.0, "count": 3, "names": ["a"]}
        for parameters, expected in [
            (None, {}),
            ({"content_type": "pd", "unknown": 1}, {}),
            ({"scale": 2, "count": 5}, {"scale": 2.0, "count": 5}),
            ({"names": ["x", "y"]}, {"names": ["x", "y"]}),
            ({"names": '["x", "y"]'}, {"names": ["x", "y"]}),
        ]:
            assert (await row_of(kernel, everything_request(parameters)))["params"] == default | expected
        for parameters, sentence in [
            ({"scale": "wide"}, "Invalid parameters found.*scale"),
            ({"names": "["}, r"parameters.names is '\[', which is no JSON"),
        ]:
            with pytest.raises(InferenceError, match=sentence):
                await kernel.infer(everything_request(parameters))


async def test_named_tensors(saved: dict[str, Path]) -> None:
    async with kernel_of(model(saved["tensors"], "mlflow")) as kernel:
        found = await ask(kernel, tensors_request())
        assert found["total"].ravel().tolist() == [6.0, 22.0]
        assert found["length"].ravel().tolist() == [3, 5]
        request = tensors_request()
        # As a client over gRPC sends texts, and in a column.
        request.inputs[1] = RequestInput("words", [2, 1], "BYTES", [b"one", "zwölf".encode()])
        assert (await ask(kernel, request, "length"))["length"].ravel().tolist() == [3, 5]
        with pytest.raises(OutputNotFound, match='has no output "nope"; it has length, total'):
            await ask(kernel, tensors_request(), "nope")


async def test_type_hints(saved: dict[str, Path]) -> None:
    async with kernel_of(model(saved["hinted"], "mlflow")) as kernel:
        request = text_request("m", ['{"article": "ab", "count": 2}', '{"article": "c"}'], name="input-1")
        response = await kernel.infer(request)
        assert response.outputs[0].data == [b"abab", b"c"]
        with pytest.raises(InferenceError, match=r"refuses the input.*article"):
            await kernel.infer(text_request("m", ['{"count": 2}'], name="input-1"))


async def test_several_inputs_without_a_signature(tmp_path: Path) -> None:
    folder = save_function(tmp_path, lambda values: [type(values).__name__])
    column, matrix = RequestInput("a", [2], "FP32", [1.0, 2.0]), RequestInput("b", [1, 2], "FP32", [1.0, 2.0])
    async with kernel_of(model(folder, "mlflow")) as kernel:
        for inputs, kind in (
            ([column], "ndarray"),
            ([column, column_named("b")], "DataFrame"),
            ([column, matrix], "dict"),
        ):
            response = await kernel.infer(InferenceRequest(inputs=inputs, model_name="m"))
            assert response.outputs[0].data == [kind.encode()]


def column_named(name: str) -> RequestInput:
    return RequestInput(name, [2, 1], "FP32", [1.0, 2.0])


# --- outputs --------------------------------------------------------------------------------------------


def save_function(tmp_path: Path, function: Any, **options: Any) -> Path:
    """A model whose `predict` is a function of the input; pickled by value, as it is in no module."""

    class Function(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return function(model_input)

    folder = tmp_path / "function"
    save_quietly(mlflow.pyfunc, None, folder, python_model=Function(), pip_requirements=[], **options)
    return folder


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (np.array([1.5, 2.5]), [("output-1", [2, 1], "FP64", [1.5, 2.5])]),
        (np.zeros((1, 2, 2), np.float32), [("output-1", [1, 2, 2], "FP32", [0.0] * 4)]),
        ([1, 2], [("output-1", [2, 1], "INT64", [1, 2])]),
        ([[1, 2], [3, 4]], [("output-1", [2, 2], "INT64", [1, 2, 3, 4])]),
        ([[1], [2, 3]], [("output-1", [2, 1], "BYTES", [b"[1]", b"[2, 3]"])]),
        (["a", "b"], [("output-1", [2, 1], "BYTES", [b"a", b"b"])]),
        ([{"a": 1}, None], [("output-1", [2, 1], "BYTES", [b'{"a": 1}', b"null"])]),
        ("text", [("output-1", [1, 1], "BYTES", [b"text"])]),
        (7, [("output-1", [1, 1], "INT64", [7])]),
        (np.array(["a"], object), [("output-1", [1, 1], "BYTES", [b"a"])]),
        (
            np.array(["2026-01-02"], "datetime64[s]"),
            [("output-1", [1, 1], "BYTES", [b"2026-01-02T00:00:00"])],
        ),
        (pd.Series([1.5], index=[9], name="s"), [("output-1", [1, 1], "FP64", [1.5])]),
        (
            pd.DataFrame({"a": [1], "b": ["x"]}, index=[7]),
            [("a", [1, 1], "INT64", [1]), ("b", [1, 1], "BYTES", [b"x"])],
        ),
        (pd.DataFrame([[1, 2]]), [("output-1", [1, 1], "INT64", [1]), ("output-2", [1, 1], "INT64", [2])]),
        ({"a": [1, 2], "b": "x"}, [("a", [2, 1], "INT64", [1, 2]), ("b", [1, 1], "BYTES", [b"x"])]),
        ({"a": {"b": 1}}, [("a", [1, 1], "BYTES", [b'{"b": 1}'])]),
        ({"a": {"b": {"c": [1.0, float("nan")]}}}, [("a", [1, 1], "BYTES", [b'{"b": {"c": [1.0, null]}}'])]),
        (datetime.date(2026, 1, 2), [("output-1", [1, 1], "BYTES", [b"2026-01-02"])]),
        ({"a": Decimal("1.10")}, [("a", [1, 1], "BYTES", [b'"1.10"'])]),
        (pd.DataFrame({"a": [datetime.date(2026, 1, 2)]}), [("a", [1, 1], "BYTES", [b"2026-01-02"])]),
        ([2**63 + 1, 1], [("output-1", [2, 1], "UINT64", [2**63 + 1, 1])]),
        ([2**63 + 1, -1], [("output-1", [2, 1], "BYTES", [b"9223372036854775809", b"-1"])]),
        ([2**53 + 1, 0.5], [("output-1", [2, 1], "BYTES", [b"9007199254740993", b"0.5"])]),
        ([2**53, 0.5], [("output-1", [2, 1], "FP64", [2.0**53, 0.5])]),
        ([Word.CAT, "a"], [("output-1", [2, 1], "BYTES", [b"cat", b"a"])]),
        ({Word.CAT: [1]}, [("cat", [1, 1], "INT64", [1])]),
        (np.ma.array([7, 9], mask=[0, 0]), [("output-1", [2, 1], "INT64", [7, 9])]),
    ],
    ids=repr,
)
async def test_results_of_every_type_are_encoded(tmp_path: Path, result: Any, expected: list[Any]) -> None:
    async with kernel_of(model(save_function(tmp_path, lambda values: result), "mlflow")) as kernel:
        response = await kernel.infer(tensor_request("m", np.zeros((2, 2))))
    found = [(one.name, list(one.shape), str(one.datatype), list(one.data)) for one in response.outputs]
    assert found == expected
    kinds = {pd.DataFrame: "pd", dict: "dict"}
    assert (response.parameters.content_type if response.parameters else None) == kinds.get(type(result))


async def test_masked_elements_are_missing_or_the_models_fault(tmp_path: Path) -> None:
    for number, values in enumerate(([1.5, -999.0], [7, 9])):
        folder = tmp_path / str(number)
        folder.mkdir()
        result = np.ma.array(values, mask=[0, 1])
        path = save_function(folder, lambda values, result=result: result)
        async with kernel_of(model(path, "mlflow")) as kernel:
            request = tensor_request("m", np.zeros((2, 2)))
            if number:
                with pytest.raises(ModelFailed, match="masked"):
                    await kernel.infer(request)
            else:
                assert (await kernel.infer(request)).dict()["outputs"][0]["data"] == [1.5, None]


async def test_optional_columns_with_gaps_are_json_texts(tmp_path: Path) -> None:
    columns = {"text": "string", "flag": "boolean", "blob": "binary", "when": "datetime", "double": "double"}
    signature = mlflow.models.ModelSignature(
        inputs=mlflow.types.Schema(
            [mlflow.types.ColSpec(kind, name, required=False) for name, kind in columns.items()]
        )
    )

    def told(frame: pd.DataFrame) -> list[str]:
        return [
            ",".join("-" if frame[name].isna()[row] else type(frame[name][row]).__name__ for name in frame)
            for row in range(len(frame))
        ]

    async with kernel_of(model(save_function(tmp_path, told, signature=signature), "mlflow")) as kernel:
        for rows, expected in (
            (slice(0, 2), [b"str,bool,bytes,Timestamp,float64", b"-,-,-,-,-"]),
            (slice(1, 2), [b"-,-,-,-,-"]),
        ):
            texts = {
                "text": ['"a"', "null"],
                "flag": ["true", "null"],
                "blob": ['"YQ=="', "null"],
                "when": ['"2026-01-02T03:04:05"', "null"],
            }
            inputs = [
                RequestInput(name, [len(given[rows])], "BYTES", given[rows], {"content_type": "pd_json"})
                for name, given in texts.items()
            ]
            numbers = [1.5, None][rows]
            inputs.append(RequestInput("double", [len(numbers)], "FP64", numbers))
            response = await kernel.infer(InferenceRequest(inputs, model_name="m"))
            assert response.outputs[0].data == expected


async def test_outputs_have_the_names_of_the_signature(tmp_path: Path) -> None:
    signature = mlflow.models.ModelSignature(
        outputs=mlflow.types.Schema(
            [mlflow.types.ColSpec("double", "x"), mlflow.types.ColSpec("double", "y")]
        )
    )
    for number, result in enumerate([np.array([[1.0, 2.0]]), pd.DataFrame([[1.0, 2.0]])]):
        (tmp_path / str(number)).mkdir()
        folder = save_function(
            tmp_path / str(number), lambda values, result=result: result, signature=signature
        )
        async with kernel_of(model(folder, "mlflow")) as kernel:
            found = await ask(kernel, np.zeros((1, 2)), "y", "x")
            assert {name: value.tolist() for name, value in found.items()} == {"y": [[2.0]], "x": [[1.0]]}
            assert [output.name for output in kernel.model_metadata("m").outputs] == ["x", "y"]


async def test_an_output_in_another_content_type(tmp_path: Path) -> None:
    folder = save_function(
        tmp_path, lambda values: pd.DataFrame({"day": [datetime.date(2026, 1, 2)], "n": [1]})
    )
    async with kernel_of(model(folder, "mlflow")) as kernel:
        request = tensor_request("m", np.zeros((1, 1)))
        request.outputs = [RequestOutput("n", Parameters(content_type="pd_json"))]
        response = await kernel.infer(request)
        assert response.outputs[0].data == [b"1"]
        request.outputs = [RequestOutput("n", Parameters(content_type="nope"))]
        with pytest.raises(CodecNotFound, match="nope"):
            await kernel.infer(request)


@pytest.mark.parametrize(
    ("function", "kind", "sentence"),
    [
        (lambda values: object(), ModelFailed, 'Model m, output "output-1": no codec encodes'),
        (
            lambda values: pd.DataFrame([[1, 2]], columns=["a", "a"]),
            ModelFailed,
            'two columns that are called "a"',
        ),
        (lambda values: 1 / 0, ModelFailed, "Model m failed: ZeroDivisionError: division by zero"),
        (lambda values: {}["size"], InferenceError, "Model m refuses the input: KeyError: 'size'"),
        (lambda values: values + "a", InferenceError, "Model m refuses the input: "),
    ],
    ids=range(5),
)
async def test_models_that_fail(tmp_path: Path, function: Any, kind: type[MLSrvError], sentence: str) -> None:
    async with kernel_of(model(save_function(tmp_path, function), "mlflow")) as kernel:
        with pytest.raises(kind, match=sentence):
            await kernel.infer(tensor_request("m", np.zeros((1, 1))))
        assert kernel.ready


# --- settings -------------------------------------------------------------------------------------------


async def test_the_settings_beat_the_signature(saved: dict[str, Path]) -> None:
    declared = [{"name": "all", "datatype": "FP64", "shape": [-1, 4]}]
    settings = model(
        saved["matrix"],
        "mlflow",
        inputs=declared,
        outputs=declared,
        platform="own",
        parameters={"content_type": "np"},
    )
    async with kernel_of(settings) as kernel:
        metadata = kernel.model_metadata("m")
        assert (metadata.platform, [tensor.name for tensor in metadata.inputs]) == ("own", ["all"])
        assert [tensor.name for tensor in metadata.outputs] == ["all"]
        with pytest.raises(InputsNotFound):
            await kernel.infer(tensor_request("m", ROWS.to_numpy(), name="other"))


async def test_a_model_config(tmp_path: Path) -> None:
    class Configured(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return [context.model_config["greeting"]]

    save_quietly(
        mlflow.pyfunc,
        None,
        tmp_path / "m",
        python_model=Configured(),
        model_config={"greeting": "a"},
        pip_requirements=[],
    )
    for extra, expected in (({}, b"a"), ({"model_config": {"greeting": "b"}}, b"b")):
        async with kernel_of(model(tmp_path / "m", "mlflow", extra)) as kernel:
            response = await kernel.infer(tensor_request("m", np.zeros(1)))
            assert response.outputs[0].data == [expected]


async def test_nothing_of_the_process_is_changed(saved: dict[str, Path], untouched_process: None) -> None:
    async with kernel_of(model(saved["everything"], "mlserver_mlflow.MLflowRuntime")) as kernel:
        await kernel.infer(everything_request())


def test_the_names_of_the_package() -> None:
    assert MLflowRuntime.__module__ == "mlsrv_mlflow.runtime"
    with pytest.raises(AttributeError, match="has no attribute 'Nope'"):
        _ = mlsrv_mlflow.Nope
