"""Graphs made and saved here, served by a kernel, and compared with ONNX Runtime itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from mlsrv import ModelSettings
from mlsrv.errors import InferenceError, InputsNotFound, ModelFailed, OutputNotFound
from mlsrv.testing import tensor_request, text_request
from mlsrv.types import Datatype, InferenceRequest, Parameters, RequestInput, RequestOutput
from mlsrv_onnx import OnnxModel
from mlsrv_onnx.model_file import FileFacts, read_facts
from mlsrv_onnx.session import is_of_shapes, run_text
from mlsrv_protocol.datatypes import bf16_to_float32
from mlsrv_testing.contracts import RuntimeContract
from served import WIRES, asking, kernel_of, model, reason, served

ROWS = np.array([[1.5, -2.0, 0.25], [4.0, 5.0, -6.0]], np.float32)
TYPES = {
    Datatype.BOOL: TensorProto.BOOL,
    Datatype.UINT8: TensorProto.UINT8,
    Datatype.UINT16: TensorProto.UINT16,
    Datatype.UINT32: TensorProto.UINT32,
    Datatype.UINT64: TensorProto.UINT64,
    Datatype.INT8: TensorProto.INT8,
    Datatype.INT16: TensorProto.INT16,
    Datatype.INT32: TensorProto.INT32,
    Datatype.INT64: TensorProto.INT64,
    Datatype.FP16: TensorProto.FLOAT16,
    Datatype.FP32: TensorProto.FLOAT,
    Datatype.FP64: TensorProto.DOUBLE,
    Datatype.BF16: TensorProto.BFLOAT16,
    Datatype.BYTES: TensorProto.STRING,
}


def save(path: Path, nodes: Sequence[Any], inputs: Any, outputs: Any, *weights: Any, **more: Any) -> Path:
    """Save a graph; inputs and outputs are name -> (type, shape)."""
    tensors = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in side.items()]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(list(nodes), "graph", *tensors, initializer=list(weights))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, **{"opset_imports": opsets, "ir_version": 8} | more), path)
    return path


def linear(folder: Path, file: str = "model.onnx", **more: Any) -> Path:
    """Two outputs of a matrix: its product with weights, and the largest element of each row of that."""
    weights = np.random.default_rng(0).random((3, 4), dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["rows", "w"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["largest"], axes=[1], keepdims=0),
    ]
    return save(
        folder / file,
        nodes,
        {"rows": (TensorProto.FLOAT, ["batch", 3])},
        {"product": (TensorProto.FLOAT, ["batch", 4]), "largest": (TensorProto.FLOAT, ["batch"])},
        numpy_helper.from_array(weights, "w"),
        **more,
    )


def identity(path: Path, kind: int, shape: Any = ("batch", 2)) -> Path:
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(path, [node], {"x": (kind, shape)}, {"y": (kind, shape)})


class TestContract(RuntimeContract):
    def settings(self, tmp_path: Path) -> ModelSettings:
        return model(linear(tmp_path), "onnx")

    def requests(self) -> list[InferenceRequest]:
        return [tensor_request("m", ROWS, name="rows"), tensor_request("m", ROWS[:1], name="rows")]

    def bad_requests(self) -> list[InferenceRequest]:
        return [
            tensor_request("m", ROWS[:, :2], name="rows"),
            tensor_request("m", ROWS.astype(np.float64), name="rows"),
            tensor_request("m", ROWS, name="columns"),
        ]


@pytest.mark.parametrize("workers", [0, 1])
async def test_the_same_numbers_over_every_wire(tmp_path: Path, workers: int) -> None:
    path = linear(tmp_path)
    session = onnxruntime.InferenceSession(str(path))
    async with served([model(path, "onnx")], parallel_workers=workers) as found:
        assert found.kernel.problems() == []
        for wire in WIRES:
            for rows in (ROWS, ROWS[:1], ROWS[1:]):
                request = asking(tensor_request("m", rows, name="rows"), "largest", "product")
                response = await found.infer(wire, request)
                expected = session.run(["largest", "product"], {"rows": rows})
                assert [output.name for output in response.outputs] == ["largest", "product"]
                for output, array in zip(response.outputs, expected, strict=True):
                    assert output.shape == list(array.shape)
                    np.testing.assert_array_equal(output.data, array.reshape(-1))


@pytest.mark.parametrize("file", ["model.onnx", "largest-3.onnx"])
async def test_the_artifact_is_found_in_a_folder_and_chooses_the_runtime(tmp_path: Path, file: str) -> None:
    linear(tmp_path, file)
    (tmp_path / "model-settings.json").write_text("{}")
    async with kernel_of(model(tmp_path, None)) as kernel:
        assert kernel.problems() == []
        assert kernel.model_metadata("m").platform == "onnx"


@pytest.mark.parametrize("name", ["mlserver_onnx.OnnxModel", "mlsrv_onnx.OnnxModel", OnnxModel])
async def test_every_name_of_the_runtime_is_known(tmp_path: Path, name: Any) -> None:
    async with kernel_of(model(linear(tmp_path), name)) as kernel:
        assert kernel.ready


@pytest.mark.parametrize("datatype", list(TYPES), ids=str)
async def test_every_datatype_goes_in_and_out(tmp_path: Path, datatype: Datatype) -> None:
    path = identity(tmp_path / "model.onnx", TYPES[datatype])
    values: Any = ["ünï", b"b", "", "d"] if datatype is Datatype.BYTES else None
    if values is None:
        values = np.array([0, 1, 1, 0], datatype.dtype)
        if datatype is Datatype.BF16:
            values = np.array([0x3F80, 0xC000, 0x7F80, 0], np.uint16)
        elif datatype is not Datatype.BOOL:
            values[:2] = datatype.lowest, datatype.highest
    async with kernel_of(model(path, "onnx")) as kernel:
        assert kernel.model_metadata("m").inputs[0].datatype == datatype
        request = InferenceRequest([RequestInput("x", [2, 2], datatype, values)], model_name="m")
        [output] = (await kernel.infer(request)).outputs
        assert (output.name, output.datatype, output.shape) == ("y", datatype, [2, 2])
        if datatype is Datatype.BYTES:
            assert output.data == ["ünï", "b", "", "d"]
        else:
            assert output.data.tolist() == values.tolist()
        if datatype is Datatype.BF16:
            assert bf16_to_float32(output.data).tolist() == [1.0, -2.0, float("inf"), 0.0]


async def test_texts_must_be_utf_8(tmp_path: Path) -> None:
    async with kernel_of(model(identity(tmp_path / "m.onnx", TensorProto.STRING), "onnx")) as kernel:
        request = InferenceRequest([RequestInput("x", [1, 2], "BYTES", [b"a", b"\xff"])], model_name="m")
        with pytest.raises(InferenceError, match='input "x": a text is not UTF-8'):
            await kernel.infer(request)


async def test_columns_and_scalars_have_the_shape_of_the_graph(tmp_path: Path) -> None:
    column = identity(tmp_path / "column.onnx", TensorProto.FLOAT, ("batch", 1))
    vector = identity(tmp_path / "vector.onnx", TensorProto.FLOAT, ("batch",))
    for path, shape in ((column, [3, 1]), (vector, [3])):
        async with kernel_of(model(path, "onnx")) as kernel:
            for sent in ([3], [3, 1]):
                values = np.arange(3, dtype=np.float32).reshape(sent)
                [output] = (await kernel.infer(tensor_request("m", values, name="x"))).outputs
                assert output.shape == shape
    scalar = identity(tmp_path / "scalar.onnx", TensorProto.INT64, ())
    async with kernel_of(model(scalar, "onnx")) as kernel:
        [output] = (await kernel.infer(tensor_request("m", np.array(7), name="x"))).outputs
        assert (output.shape, output.data.tolist()) == ([], [7])


@pytest.mark.parametrize("labels", [["no", "perhaps", "yes"], [-1, 0, 2**40]])
async def test_scores_by_class_are_a_matrix_with_the_labels_of_its_columns(
    tmp_path: Path, labels: list[Any]
) -> None:
    of_texts = isinstance(labels[0], str)
    attribute = "classlabels_strings" if of_texts else "classlabels_int64s"
    key = TensorProto.STRING if of_texts else TensorProto.INT64
    node = helper.make_node("ZipMap", ["x"], ["scores"], domain="ai.onnx.ml", **{attribute: labels})
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    graph = helper.make_graph([node], "scores", [value], [helper.make_value_info("scores", kind)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "model.onnx")
    async with kernel_of(model(tmp_path, "onnx")) as kernel:
        [declared] = kernel.model_metadata("m").outputs
        assert (declared.datatype, declared.shape) == ("FP32", [-1, -1])
        assert declared.parameters is not None
        assert declared.parameters.get("labels") == [str(label) for label in labels]
        for rows in (ROWS, ROWS[:0]):
            [output] = (await kernel.infer(tensor_request("m", rows, name="x"))).outputs
            assert output.shape == [len(rows), 3]
            assert output.data.tolist() == rows.reshape(-1).tolist()
            assert output.parameters is not None
            assert output.parameters.get("labels") == [str(label) for label in labels]


async def test_inputs_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    for checks in (True, False):
        async with kernel_of(model(linear(tmp_path), "onnx", check_inputs=checks)) as kernel:
            for values in (ROWS[:, :2], ROWS.astype(np.float64)):
                with pytest.raises(InferenceError, match=r"(?i)type|shape|dimensions"):
                    await kernel.infer(tensor_request("m", values, name="rows"))
            with pytest.raises(InferenceError, match=r"shape \[1, 2, 3\]|shape \[2, 3, 1\]|Invalid rank"):
                await kernel.infer(tensor_request("m", ROWS[None], name="rows"))
            with pytest.raises(InputsNotFound, match="it takes rows"):
                await kernel.infer(tensor_request("m", ROWS, name="columns"))
            with pytest.raises(OutputNotFound, match='no output "smallest"; it has largest, product'):
                await kernel.infer(asking(tensor_request("m", ROWS, name="rows"), "smallest"))
            assert len((await kernel.infer(tensor_request("m", ROWS, name="rows"))).outputs) == 2


async def test_an_output_is_encoded_as_it_was_asked_for(tmp_path: Path) -> None:
    async with kernel_of(model(identity(tmp_path / "m.onnx", TensorProto.STRING), "onnx")) as kernel:
        request = text_request("m", ["a", "b"], name="x")
        request.inputs[0].shape = [1, 2]
        request.outputs = [RequestOutput("y", Parameters(content_type="np"))]
        [output] = (await kernel.infer(request)).outputs
        assert (output.shape, output.data) == ([1, 2], ["a", "b"])


async def test_settings_of_the_runtime(tmp_path: Path) -> None:
    path = linear(tmp_path)
    extra = {
        "threads": 1,
        "providers": [["CPUExecutionProvider", {}]],
        "session_options": {"graph_optimization_level": "ORT_DISABLE_ALL", "enable_mem_pattern": False},
        "session_config": {"session.intra_op.allow_spinning": "0"},
    }
    async with kernel_of(model(path, "onnx", extra)) as kernel:
        assert kernel.problems() == []
    for wrong, text in [
        ({"threads": -1}, "extra.threads must be at least 1, not -1"),
        ({"providers": "CPUExecutionProvider"}, "extra.providers must be a list"),
        ({"providers": ["ToasterProvider"]}, "extra.providers has 'ToasterProvider'; it lists names, or"),
        ({"session_options": {"sped": 1}}, "session_options has 'sped', which is no option of a session"),
        ({"session_options": {"execution_mode": "FAST"}}, "has 'FAST' for execution_mode, which does not"),
        ({"session_options": {"enable_mem_pattern": "x"}}, "has 'x' for enable_mem_pattern"),
    ]:
        assert text in await reason(model(path, "onnx", wrong))


async def test_unusable_artifacts_say_what_to_do(tmp_path: Path) -> None:
    assert "is neither a file nor a folder" in await reason(model(tmp_path / "gone", "onnx"))
    assert "has no artifact of ONNX (model.onnx, " in await reason(model(tmp_path, "onnx"))
    path = linear(tmp_path)
    whole = path.read_bytes()
    for broken in (b"", b"junk", whole[: len(whole) // 2], b'{"learner": {}}'):
        path.write_bytes(broken)
        found = await reason(model(path, "onnx"))
        assert f"{path} cannot be read as an ONNX model (" in found
        assert "export it again" in found
    linear(tmp_path, ir_version=99)
    found = await reason(model(path, "onnx"))
    assert f"is newer than ONNX Runtime {onnxruntime.__version__} can read" in found
    assert "install a newer onnxruntime" in found
    linear(tmp_path, opset_imports=[helper.make_opsetid("", 999)])
    assert "install a newer onnxruntime" in await reason(model(path, "onnx"))
    node = helper.make_node("Identity", ["x"], ["y"])
    complex_ = {"x": (TensorProto.COMPLEX64, [1])}, {"y": (TensorProto.COMPLEX64, [1])}
    save(path, [node], *complex_)
    assert await reason(model(path, "onnx"))


def two_inputs(path: Path, sizes: Sequence[Any], *others: Any) -> Path:
    node = helper.make_node("Add", ["a", "b"], ["y"])
    kinds = {"a": (TensorProto.FLOAT, sizes), "b": (TensorProto.FLOAT, others or sizes)}
    return save(path, [node], kinds, {"y": (TensorProto.FLOAT, None)})


def two_arrays(a: Any, b: Any) -> InferenceRequest:
    request = tensor_request("m", np.asarray(a, np.float32), name="a")
    return InferenceRequest(
        [*request.inputs, *tensor_request("m", np.asarray(b, np.float32), name="b").inputs], model_name="m"
    )


async def test_sizes_of_one_name_must_be_equal(tmp_path: Path) -> None:
    async with kernel_of(model(two_inputs(tmp_path / "m.onnx", ["n", 3]), "onnx")) as kernel:
        for a, b in ((2, 3), (1, 3)):
            with pytest.raises(
                InferenceError,
                match=rf"shape \[{b}, 3\] was sent, where n is {b}, but in the input .a. n is {a};",
            ):
                await kernel.infer(two_arrays(np.ones((a, 3)), np.ones((b, 3))))
        assert (await kernel.infer(two_arrays(np.ones((2, 3)), np.ones((2, 3))))).outputs[0].shape == [2, 3]
    for names in ((None, 3), ("?", 3), ("None", 3)):
        async with kernel_of(model(two_inputs(tmp_path / "m.onnx", names), "onnx")) as kernel:
            response = await kernel.infer(two_arrays(np.ones((1, 3)), np.ones((3, 3))))
            assert response.outputs[0].shape == [3, 3]


async def test_sizes_that_a_node_refuses_are_the_clients_fault(tmp_path: Path) -> None:
    async with kernel_of(model(two_inputs(tmp_path / "m.onnx", [None, 3]), "onnx")) as kernel:
        with pytest.raises(
            InferenceError, match="refuses the input: node Add: Attempting to broadcast"
        ) as caught:
            await kernel.infer(two_arrays(np.ones((2, 3)), np.ones((3, 3))))
        assert "onnxruntime" not in str(caught.value)
        assert "was false" not in str(caught.value)
    reshape = helper.make_node("Reshape", ["x", "shape"], ["y"], name="folded")
    path = save(
        tmp_path / "m.onnx",
        [reshape],
        {"x": (TensorProto.FLOAT, ["n"])},
        {"y": (TensorProto.FLOAT, [2, 2])},
        numpy_helper.from_array(np.array([2, 2]), "shape"),
    )
    async with kernel_of(model(path, "onnx")) as kernel:
        with pytest.raises(
            InferenceError, match=r'node "folded" \(Reshape\): The input tensor cannot be resh'
        ) as caught:
            await kernel.infer(tensor_request("m", np.ones(3, np.float32), name="x"))
        assert ".h:" not in str(caught.value)
    gather = helper.make_node("Gather", ["table", "i"], ["y"])
    path = save(
        tmp_path / "m.onnx",
        [gather],
        {"i": (TensorProto.INT64, ["n"])},
        {"y": (TensorProto.FLOAT, ["n"])},
        numpy_helper.from_array(np.ones(3, np.float32), "table"),
    )
    async with kernel_of(model(path, "onnx")) as kernel:
        with pytest.raises(InferenceError, match="node Gather: indices element out of data bounds, idx=7"):
            await kernel.infer(tensor_request("m", np.array([7]), name="i"))


@pytest.mark.parametrize(
    ("status", "text", "of_shapes"),
    [
        (
            "Non-zero status code returned while running Foo node. Name:'f' Status Message: out of luck",
            'node "f" (Foo): out of luck',
            False,
        ),
        (
            "Status Message: /onnxruntime_src/a/b.cc:12 void f(int) const x == 1 was false. ",
            "it needs that x == 1",
            False,
        ),
        (
            "Status Message: /src/b.h:1 void* f(size_t) Failed to allocate memory of size 9",
            "Failed to allocate memory of size 9",
            False,
        ),
        ("Status Message: Invalid rank for input", "Invalid rank for input", True),
    ],
)
def test_texts_of_failed_runs(status: str, text: str, of_shapes: bool) -> None:
    found = run_text(RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : {status}"))
    assert (found, is_of_shapes(found)) == (text, of_shapes)


async def test_a_failure_that_is_not_of_shapes_is_the_models_fault(tmp_path: Path) -> None:
    async with kernel_of(model(linear(tmp_path), "onnx")) as kernel:
        assert kernel.problems() == []
    runtime = OnnxModel(model(linear(tmp_path), "onnx"))
    runtime.load()

    def run(names: Any, feeds: Any) -> Any:
        raise RuntimeException(
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Status Message: /src/x.cc:1 the device is gone"
        )

    runtime._session = SimpleNamespace(run=run)
    with pytest.raises(ModelFailed, match=r"Model m failed: the device is gone$"):
        runtime.predict(tensor_request("m", ROWS, name="rows"))


async def test_an_input_without_a_rank_takes_any(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "x"], ["y"])
    for kind, dtype in ((TensorProto.FLOAT, np.float32), (TensorProto.INT64, np.int64)):
        path = save(tmp_path / "m.onnx", [node], {"x": (kind, None)}, {"y": (kind, None)})
        async with kernel_of(model(path, "onnx")) as kernel:
            for values in (np.ones((), dtype), np.ones(3, dtype), np.ones((1, 2, 3), dtype)):
                [output] = (await kernel.infer(tensor_request("m", values, name="x"))).outputs
                assert (output.shape, output.data.tolist()) == (list(values.shape), [2] * values.size)
    texts = save(
        tmp_path / "m.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": (TensorProto.STRING, None)},
        {"y": (TensorProto.STRING, None)},
    )
    async with kernel_of(model(texts, "onnx")) as kernel:
        [output] = (await kernel.infer(text_request("m", ["a", "b"], name="x"))).outputs
        assert output.data == ["a", "b"]
    scalar = save(tmp_path / "m.onnx", [node], {"x": (TensorProto.FLOAT, [])}, {"y": (TensorProto.FLOAT, [])})
    async with kernel_of(model(scalar, "onnx")) as kernel:
        with pytest.raises(InferenceError, match=r"shape \[3\] was sent, the model takes \[\]"):
            await kernel.infer(tensor_request("m", np.ones(3, np.float32), name="x"))


def test_ranks_are_read_from_the_file(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "z"], ["y"])
    kinds = {"x": (TensorProto.FLOAT, None), "z": (TensorProto.FLOAT, [])}
    path = save(tmp_path / "m.onnx", [node], kinds, {"y": (TensorProto.FLOAT, None)})
    assert read_facts(path).ranked == {"z"}
    for content in (b"\x18\x00\x00\x00ORTM" + bytes(40), path.read_bytes()[:-3], b"\xff" * 40):
        path.write_bytes(content)
        assert read_facts(path) == FileFacts()


@pytest.mark.parametrize("workers", [0, 1])
async def test_initializers_that_are_inputs_may_be_overridden(tmp_path: Path, workers: int) -> None:
    path = save(
        tmp_path / "m.onnx",
        [helper.make_node("Mul", ["x", "scale"], ["y"])],
        {"x": (TensorProto.FLOAT, ["n"]), "scale": (TensorProto.FLOAT, [1])},
        {"y": (TensorProto.FLOAT, ["n"])},
        numpy_helper.from_array(np.array([2], np.float32), "scale"),
    )
    async with served([model(path, "onnx", warm_up=True)], parallel_workers=workers) as found:
        assert found.kernel.problems() == []
        x, scale = found.kernel.model_metadata("m").inputs
        assert (scale.name, scale.shape, scale.datatype) == ("scale", [1], "FP32")
        assert scale.parameters is not None
        assert scale.parameters.get("optional") is True
        assert x.parameters is None
        request = tensor_request("m", np.ones(2, np.float32), name="x")
        more = tensor_request("m", np.array([5], np.float32), name="scale").inputs
        for wire in WIRES:
            assert (await found.infer(wire, request)).outputs[0].data.tolist() == [2, 2]
            both = InferenceRequest([*request.inputs, *more], model_name="m")
            assert (await found.infer(wire, both)).outputs[0].data.tolist() == [5, 5]
    async with kernel_of(model(path, "onnx")) as kernel:
        with pytest.raises(InputsNotFound, match="needs the inputs x; it takes scale, x"):
            await kernel.infer(tensor_request("m", np.ones(1, np.float32), name="scale"))
        wrong = tensor_request("m", np.ones(2, np.float32), name="scale").inputs
        request = InferenceRequest([*request.inputs, *wrong], model_name="m")
        with pytest.raises(InferenceError, match=r'input "scale": shape \[2\] was sent'):
            await kernel.infer(request)
