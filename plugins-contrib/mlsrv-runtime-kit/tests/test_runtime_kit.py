"""Helpers of runtimes, tried with one that knows its features as an artifact would describe them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import mlsrv
from mlsrv import Kernel, MLModel, ModelSettings, runtimes
from mlsrv.codecs.registry import CodecRegistry
from mlsrv.errors import InferenceError, InputsNotFound, InvalidModelURI, ModelLoadError, OutputNotFound
from mlsrv.testing import tensor_request
from mlsrv.types import Datatype, InferenceRequest, RequestOutput
from mlsrv_runtime_kit import (
    Features,
    TableModel,
    TableOutput,
    array_codecs,
    default_output,
    extra_value,
    find_artifact,
    thread_count,
    unreadable,
)

ROWS = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


class Sums(TableModel):
    """Adds the columns of a row up; refuses negative numbers. The artifact is the names of the features."""

    framework: ClassVar[str] = "Sums"
    artifacts: ClassVar[tuple[str, ...]] = ("model.names",)

    def read(self, path: Path) -> tuple[Features, Mapping[str, TableOutput]]:
        names = tuple(path.read_text().split())
        if names == ("2",):
            return Features(2), {"predict": TableOutput(self.total, Datatype.FP32)}
        kinds = TableOutput(np.sign, Datatype.FP32, len(names))
        return Features(len(names), names), {
            "predict": TableOutput(self.total, Datatype.FP32),
            "kinds": kinds,
        }

    def total(self, values: Any) -> Any:
        if values.min() < 0:
            raise ValueError("a number is\nbelow zero" + "!" * 400)
        return values.sum(axis=1)


def settings(uri: Path, **extra: Any) -> ModelSettings:
    return ModelSettings(name="m", implementation=Sums, parameters={"uri": str(uri), "extra": extra})


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "model.names"
    path.write_text("height width")
    return path


async def ask(kernel: Kernel, request: InferenceRequest, *outputs: str) -> dict[str, Any]:
    request.model_name = "m"
    request.outputs = [RequestOutput(name) for name in outputs] or None
    return {output.name: output.data.tolist() for output in (await kernel.infer(request)).outputs}


def columns(**values: Any) -> InferenceRequest:
    inputs = [tensor_request("m", column, name=name).inputs[0] for name, column in values.items()]
    return InferenceRequest(inputs=inputs)


async def test_a_table_comes_as_a_matrix_or_as_columns(artifact: Path) -> None:
    async with Kernel({"executor": "inline"}, models=[settings(artifact)]) as kernel:
        await kernel.loaded()
        metadata = kernel.model_metadata("m")
        assert metadata.platform == "sums"
        assert [(tensor.name, tensor.shape) for tensor in metadata.inputs] == [
            ("height", [-1, 1]),
            ("width", [-1, 1]),
        ]
        assert [(tensor.name, tensor.shape) for tensor in metadata.outputs] == [
            ("predict", [-1, 1]),
            ("kinds", [-1, 2]),
        ]
        assert await ask(kernel, tensor_request("m", ROWS, name="anything")) == {"predict": [3.0, 7.0]}
        request = columns(width=ROWS[:, 1], height=ROWS[:, :1])
        assert await ask(kernel, request, "kinds", "predict") == {
            "kinds": [1.0, 1.0, 1.0, 1.0],
            "predict": [3.0, 7.0],
        }


async def test_values_that_do_not_fit_are_the_clients_fault(artifact: Path) -> None:
    async with Kernel({"executor": "inline"}, models=[settings(artifact)]) as kernel:
        await kernel.loaded()
        for request, text in [
            (tensor_request("m", ROWS[:, :1]), r"takes 2 features \(height, width\), but the input has 1"),
            (tensor_request("m", ROWS[None]), r"a table of rows and features, not the shape \[1, 2, 2\]"),
            (columns(height=ROWS[:, 0], width=ROWS[:1, 1]), 'input "width": shape .* a column of 2 rows'),
            (tensor_request("m", -ROWS), r"refuses the input: a number is below zero!+…$"),
        ]:
            with pytest.raises(InferenceError, match=text):
                await ask(kernel, request)
        with pytest.raises(InputsNotFound, match="needs the inputs width; it takes height, width"):
            await ask(kernel, columns(height=ROWS[:, 0], depth=ROWS[:, 1]))
        with pytest.raises(InputsNotFound, match="does not know the inputs depth"):
            await ask(kernel, columns(height=ROWS[:, 0], width=ROWS[:, 1], depth=ROWS[:, 1]))
        with pytest.raises(OutputNotFound, match='no output "mean"'):
            await ask(kernel, tensor_request("m", ROWS), "mean")


async def test_requests_are_checked_against_inputs_of_the_settings(artifact: Path) -> None:
    declared = settings(artifact)
    declared.inputs = [mlsrv.types.MetadataTensor("rows", Datatype.FP32, [-1, 2])]
    async with Kernel({"executor": "inline"}, models=[declared]) as kernel:
        await kernel.loaded()
        assert [tensor.name for tensor in kernel.model_metadata("m").inputs] == ["rows"]
        assert await ask(kernel, tensor_request("m", ROWS, name="rows")) == {"predict": [3.0, 7.0]}
        with pytest.raises(InputsNotFound, match="does not know the inputs anything"):
            await ask(kernel, tensor_request("m", ROWS, name="anything"))


async def test_features_without_names_are_one_matrix(artifact: Path) -> None:
    artifact.write_text("2")
    async with Kernel({"executor": "inline"}, models=[settings(artifact.parent)]) as kernel:
        await kernel.loaded()
        [tensor] = kernel.model_metadata("m").inputs
        assert (tensor.name, tensor.shape) == ("input-1", [-1, 2])
        with pytest.raises(InferenceError, match="takes 2 features, but the input has 1"):
            await ask(kernel, tensor_request("m", ROWS[0]))


def test_the_artifact_is_found_or_missed_with_a_sentence(artifact: Path, tmp_path: Path) -> None:
    assert find_artifact(settings(tmp_path), ["*.names"], "Sums") == artifact
    with pytest.raises(InvalidModelURI, match=r"has no artifact of Sums \(model.sum\); put it there"):
        find_artifact(settings(tmp_path), ["model.sum"], "Sums")
    remote = ModelSettings(name="m", parameters={"uri": "s3://bucket/model"})
    with pytest.raises(InvalidModelURI, match="is not local; fetch the artifact first"):
        find_artifact(remote, [], "Sums")


def test_an_artifact_of_another_name_is_found_by_how_it_begins(tmp_path: Path) -> None:
    def is_sum(path: Path) -> bool:
        return path.read_text().startswith("sum")

    (tmp_path / "a.txt").write_text("notes")
    (tmp_path / "b.txt").write_text("sum of a")
    (tmp_path / "folder").mkdir()
    assert find_artifact(settings(tmp_path), ["model.sum"], "Sums", is_sum) == tmp_path / "b.txt"
    (tmp_path / "c.txt").write_text("sum of c")
    with pytest.raises(InvalidModelURI, match=r"several artifacts of Sums \(b.txt, c.txt\); name one"):
        find_artifact(settings(tmp_path), ["model.sum"], "Sums", is_sum)
    assert find_artifact(settings(tmp_path), ["c.*"], "Sums", is_sum) == tmp_path / "c.txt"


def test_the_error_without_a_codec_of_arrays_says_what_to_install() -> None:
    model = MLModel(ModelSettings(name="m"))
    model.bind(CodecRegistry())
    with pytest.raises(ModelLoadError, match=r"Model m needs .* \"np\" \(pip install mlsrv-numpy\)"):
        array_codecs(model)


def test_only_the_first_line_of_a_reason_is_reported() -> None:
    error = unreadable("m", Path("a.b"), "a sum", ValueError("\nfirst.\nsecond"), "try again")
    assert str(error) == "Model m: a.b cannot be read as a sum (ValueError: first); try again."
    assert "(no reason given)" in str(unreadable("m", Path("a.b"), "a sum", "", "try again"))


def test_extras_have_types(tmp_path: Path) -> None:
    given = settings(tmp_path, whole=3, real=0.5, on=True, text="a", many=[1], predict_fn="b")
    assert extra_value(given, "whole", int, 0) == 3
    assert extra_value(given, "whole", float, 0.0) == 3.0
    assert extra_value(given, "absent", str, "default") == "default"
    for key, kind, text in [
        ("real", int, "an integer, not 0.5"),
        ("on", int, "an integer, not True"),
        ("on", float, "a number, not True"),
        ("whole", bool, "true or false, not 3"),
        ("many", dict, r"an object, not \[1\]"),
        ("text", list, "a list, not 'a'"),
    ]:
        with pytest.raises(ModelLoadError, match=f"parameters.extra.{key} must be {text}"):
            extra_value(given, key, kind, kind())
    assert default_output(given, ["a", "b"]) == "b"
    assert default_output(settings(tmp_path), ["a", "b"]) == "a"
    with pytest.raises(ModelLoadError, match="predict_fn is 'b', but the model has a, c"):
        default_output(given, ["a", "c"])


def test_the_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert thread_count(settings(tmp_path)) >= 1
    for text, count in [("3", 3), ("2,1", 2)]:
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert thread_count(settings(tmp_path)) == count
    assert thread_count(settings(tmp_path, threads=5)) == 5
    for wrong in (0, -1):
        with pytest.raises(ModelLoadError, match=f"threads must be at least 1, not {wrong}"):
            thread_count(settings(tmp_path, threads=wrong))


def test_the_old_names_are_those_of_the_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(DeprecationWarning, match="import TableModel from there"):
        assert runtimes.TableModel is TableModel
    monkeypatch.setitem(sys.modules, "mlsrv_runtime_kit", None)
    with pytest.raises(ModuleNotFoundError, match="install it: pip install mlsrv-runtime-kit"):
        runtimes.Features  # noqa: B018  # the access itself raises
