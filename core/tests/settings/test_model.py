"""Model settings: objects, files, plugins' fields, problems."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv.settings import (
    KernelModelSettings,
    Layer,
    ModelParameters,
    ModelSettings,
    Owner,
    setting,
    settings_class,
)
from mlsrv.testing import EchoModel
from mlsrv.types import MetadataTensor


@settings_class
class Batching:
    max_batch_size: int = setting(0, help="Requests in a batch.")
    max_batch_time: float = setting(0.0, help="Seconds to wait for a batch.")


OWNERS = [Owner("mlsrv-batching", Batching)]
TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}


def write(folder: Path, **values: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "model-settings.json"
    path.write_text(json.dumps(values))
    return path


# --- objects -------------------------------------------------------------------------------------------


def test_made_in_python() -> None:
    found = ModelSettings(
        name="m",
        implementation=EchoModel,
        parameters={"version": "v1", "extra": {"a": 1}},
        inputs=[TENSOR],
        outputs=[MetadataTensor(name="y", datatype="INT64", shape=[-1])],
        platform="toy",
    )
    assert (found.name, found.version, found.platform, found.folder) == ("m", "v1", "toy", None)
    assert found.parameters == ModelParameters(version="v1", extra={"a": 1})
    assert found.inputs == [MetadataTensor(name="x", datatype="FP32", shape=[-1, 4])]
    assert repr(found) == f"ModelSettings(name='m', version='v1', implementation={EchoModel!r})"


def test_nulls_are_defaults() -> None:
    found = ModelSettings.parse_obj(
        {"name": None, "implementation": None, "parameters": None, "inputs": None, "outputs": None}
    )
    assert (found.name, found.implementation, found.version, found.inputs, found.outputs) == (
        "",
        None,
        None,
        [],
        [],
    )


def test_shapes_may_be_tuples() -> None:
    found = ModelSettings(inputs=[{"name": "x", "datatype": "FP32", "shape": (1, 2)}])
    assert found.inputs[0].shape == [1, 2]


def test_every_problem_of_the_identity_is_reported() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelSettings.parse_obj(
            {
                "name": 5,
                "implementation": 6,
                "parameters": {"uri": 7},
                "inputs": {"x": "FP32"},
                "outputs": [TENSOR, {**TENSOR, "datatype": "FP99"}],
            },
            Path("f.json"),
        )
    assert caught.value.problems[:4] == [
        "f.json: name: expected a text, got 5",
        "f.json: implementation: expected a text, got 6",
        "f.json: parameters.uri: expected a text, got 7",
        "f.json: inputs: expected a list, got {'x': 'FP32'}",
    ]
    assert caught.value.problems[4].startswith('f.json: outputs[1]: "FP99" is not a datatype')


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        ("x", "inputs[0]: expected an object, got 'x'"),
        ({"name": "x", "datatype": "FP32"}, "inputs[0]: shape is missing"),
        ({**TENSOR, "shape": [1.5]}, "inputs[0]: shape contains 1.5"),
    ],
)
def test_wrong_tensors(tensor: object, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelSettings.parse_obj({"inputs": [tensor]})
    assert str(caught.value).startswith(sentence)


def test_unknown_keys_of_tensors_are_told_of_when_the_settings_are_resolved() -> None:
    settings = ModelSettings.parse_obj({"inputs": [{**TENSOR, "type": "FP32"}]})
    with pytest.raises(ConfigurationError, match=r'^inputs\[0\]: unknown key "type"; did you mean'):
        settings.resolve(())


def test_parameters_of_a_wrong_kind() -> None:
    with pytest.raises(ConfigurationError, match=r"^parameters: expected an object, got \[1\]$"):
        ModelSettings.parse_obj({"parameters": [1]})


@pytest.mark.parametrize("key", ["source", "self"])
def test_keys_that_mean_something_to_python(key: str) -> None:
    with pytest.raises(ConfigurationError, match=f'unknown key "{key}"'):
        ModelSettings.parse_obj({"name": "m", key: "x"}).resolve(())


# --- files ---------------------------------------------------------------------------------------------


def test_a_file_names_the_model_after_its_folder(tmp_path: Path) -> None:
    found = ModelSettings.parse_file(write(tmp_path / "iris", implementation="sklearn"))
    assert found.name == "iris"
    assert found.folder == tmp_path / "iris"
    assert found.parameters.uri == str(tmp_path / "iris")


def test_model_is_another_spelling_of_name(tmp_path: Path) -> None:
    assert ModelSettings.parse_file(write(tmp_path, model="a")).name == "a"
    assert ModelSettings.parse_file(write(tmp_path, model="a", name="b")).name == "b"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("./model.joblib", "{folder}/model.joblib"),
        ("deep/model.joblib", "{folder}/deep/model.joblib"),
        ("/data/model.joblib", "/data/model.joblib"),
        ("s3://bucket/model", "s3://bucket/model"),
        ("file:///data/model", "file:///data/model"),
        ("models:/iris@champion", "models:/iris@champion"),
    ],
)
def test_a_uri_is_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, expected: str
) -> None:
    write(tmp_path, parameters={"uri": uri})
    monkeypatch.chdir(tmp_path)
    found = ModelSettings.parse_file("model-settings.json")
    assert found.parameters.uri == expected.format(folder=tmp_path)


def test_problems_name_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, parameters={"uri": 5})
    with pytest.raises(ConfigurationError) as caught:
        ModelSettings.parse_file(path)
    assert str(caught.value) == f"{path}: parameters.uri: expected a text, got 5"
    path.write_text('{"name": }')
    with pytest.raises(ConfigurationError) as caught:
        ModelSettings.parse_file(path)
    assert str(caught.value) == f"{path}: is not valid JSON at line 1, column 10"


# --- plugins' fields -----------------------------------------------------------------------------------


def test_fields_of_plugins(tmp_path: Path) -> None:
    path = write(tmp_path, name="m", max_batch_size="16", max_batch_time="0.5", platform="toy")
    found = ModelSettings.parse_file(path).resolve(OWNERS)
    assert found.of(Batching) == Batching(max_batch_size=16, max_batch_time=0.5)
    assert found.of(KernelModelSettings).platform == "toy"
    assert found.max_batch_size == 16
    assert {one.name: one.origin for one in found}["max_batch_size"] == str(path)


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, name="m", max_batch_size=16)
    environment = Layer(
        "environment",
        {"max_batch_size": "8"},
        text=True,
        names={"max_batch_size": "MLSRV_MODEL_MAX_BATCH_SIZE"},
    )
    assert ModelSettings.parse_file(path).resolve(OWNERS, environment).max_batch_size == 8


def test_problems_of_plugins_fields(tmp_path: Path) -> None:
    path = write(tmp_path, name="m", max_batch_sise=1, max_batch_time="soon", paltform="x")
    with pytest.raises(ConfigurationError) as caught:
        ModelSettings.parse_file(path).resolve(OWNERS)
    assert caught.value.problems == [
        f'{path}: unknown key "max_batch_sise"; did you mean "max_batch_size"?',
        f'{path}: unknown key "paltform"; did you mean "platform"?',
        f"{path}: max_batch_time: expected a number, got 'soon'",
    ]


def test_null_is_no_platform(tmp_path: Path) -> None:
    path = write(tmp_path, name="m", platform=None, inputs=None)
    found = ModelSettings.parse_file(path).resolve(OWNERS)
    assert (found.platform, found.inputs) == (None, [])


def test_unresolved_settings_serve_unit_tests_of_models() -> None:
    found = ModelSettings(name="m", max_batch_size="16")
    assert found.platform == ""
    assert found.max_batch_size == "16"
    assert found.of(Batching).max_batch_size == 16
    assert EchoModel(found).name == "m"


def test_a_copy_is_independent() -> None:
    original = ModelSettings(name="m", inputs=[TENSOR]).resolve(())
    changed = original.copy(implementation="sklearn")
    changed.inputs.clear()
    assert (original.implementation, len(original.inputs)) == (None, 1)
    assert changed.of(KernelModelSettings) == original.of(KernelModelSettings)


def test_settings_travel_between_processes(tmp_path: Path) -> None:
    path = write(tmp_path, name="m", inputs=[TENSOR], max_batch_size=4, parameters={"pool": "gpu"})
    original = ModelSettings.parse_file(path).resolve(OWNERS)
    again = pickle.loads(pickle.dumps(original))
    assert (again.name, again.source, again.parameters.pool) == ("m", path, "gpu")
    assert again.inputs == original.inputs
    assert again.of(Batching) == Batching(max_batch_size=4)
