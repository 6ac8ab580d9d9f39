"""Artifacts repository: models without settings files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv.repository import BrokenModel, Listing
from mlsrv.settings import ModelSettings
from mlsrv_files.artifacts import ArtifactsRepository
from mlsrv_files.source_models import models_in

CODE = """
import mlsrv
from mlsrv import MLModel, predictor
from other import Base


@mlsrv.predictor
def one(x: int) -> int: ...


@predictor
async def two(x: int) -> int: ...


def helper(x): ...


class Parent(MLModel): ...


class Child(Parent): ...


class _Hidden(MLModel): ...


class Other(Base):
    def predict(self, payload): ...


class Plain:
    def predict(self, payload): ...
"""


async def listed(root: Path | str) -> list[Listing]:
    return await ArtifactsRepository(str(root)).list()


def names(found: list[Listing]) -> list[str]:
    assert all(isinstance(model, ModelSettings) for model in found), found
    return [model.name for model in found]


def test_models_are_found_in_code_without_running_it() -> None:
    assert models_in(CODE) == ["one", "two", "Child", "Other"]
    assert models_in("raise SystemExit") == []


async def test_a_file_is_a_model_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "churn.joblib").write_bytes(b"1")
    [model] = await listed(tmp_path / "churn.joblib")
    assert isinstance(model, ModelSettings)
    assert (model.name, model.implementation) == ("churn", None)
    assert model.parameters.uri == str(tmp_path / "churn.joblib")
    assert model.folder == tmp_path


async def test_a_folder_serves_each_artifact(tmp_path: Path) -> None:
    for name in (
        "b.onnx",
        "a.ubj",
        "model.txt",
        "README.md",
        "requirements.txt",
        ".hidden",
        "code.py",
        "x.csv",
    ):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow/MLmodel").write_text("flavors: {}")
    (tmp_path / "empty").mkdir()
    assert names(await listed(tmp_path)) == ["a", "b", "flow", "model"]
    assert names(await listed(tmp_path / "flow")) == ["flow"]


async def test_settings_files_come_first(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"1")
    (tmp_path / "model-settings.json").write_text('{"name": "described", "implementation": "x"}')
    assert names(await listed(tmp_path)) == ["described"]


async def test_code_serves_each_of_its_models_or_one(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(CODE)
    assert names(await listed(tmp_path / "models.py")) == ["one", "two", "Child", "Other"]
    [model] = await listed(f"{tmp_path}/models.py:Plain")
    assert isinstance(model, ModelSettings)
    assert (model.name, model.implementation, model.folder) == ("Plain", "models.Plain", tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("models.py", "x = 1", "has no model"),
        ("models.py", "def", "is no Python code: invalid syntax (models.py, line 1)"),
        ("my-models.py", "import mlsrv", "the name of the file must be that of a module"),
        (" a.onnx", "", "the name of the file is the model's"),
    ],
)
async def test_what_cannot_be_served_says_why(tmp_path: Path, file: str, text: str, reason: str) -> None:
    (tmp_path / file).write_text(text)
    [broken] = await listed(tmp_path / file)
    assert isinstance(broken, BrokenModel)
    assert reason in broken.reason
    assert str(tmp_path / file) in broken.reason


async def test_stamps_change_with_the_artifact_and_with_the_code_beside(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"1")
    (tmp_path / "models.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("x = 1")
    artifact, code = (
        ArtifactsRepository(str(tmp_path / "a.onnx")),
        ArtifactsRepository(f"{tmp_path}/models.py"),
    )
    before = dict(await artifact.stamps()), dict(await code.stamps())
    assert before[0].keys() == {str(model.source) for model in await artifact.list()}
    assert before[1].keys() == {str(model.source) for model in await code.list()}
    assert len(before[1]) == 4
    (tmp_path / "a.onnx").write_bytes(b"22")
    (tmp_path / "helper.py").write_text("x = 12")
    after = await artifact.stamps(), await code.stamps()
    assert not before[0].items() & after[0].items()
    assert not before[1].items() & after[1].items()


def test_a_wrong_root_or_argument(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        ArtifactsRepository(str(tmp_path / "nothing.onnx"))
    with pytest.raises(ConfigurationError, match="takes none, but got x"):
        ArtifactsRepository(str(tmp_path), x=1)
