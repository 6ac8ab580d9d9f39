"""The path of a model's artifact, and closing streams."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mlsrv import ModelSettings
from mlsrv.errors import InvalidModelURI
from mlsrv.utils import closing, get_model_uri, model_uri


def of(uri: object) -> ModelSettings:
    return ModelSettings(name="m", parameters={"uri": None if uri is None else str(uri)})


def test_the_uri_of_a_file_is_its_path(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.touch()
    assert model_uri(of(path), ["model.joblib"]) == str(path)
    assert model_uri(of(path.as_uri())) == str(path)


def test_a_folder_is_searched_in_the_order_of_the_wanted_names(tmp_path: Path) -> None:
    for name in ("b.skops", "a.skops", "model.pickle"):
        (tmp_path / name).touch()
    assert model_uri(of(tmp_path), ["model.joblib", "model.pickle", "*.skops"]) == str(
        tmp_path / "model.pickle"
    )
    assert model_uri(of(tmp_path), ["model.joblib", "*.skops"]) == str(tmp_path / "a.skops")
    assert model_uri(of(tmp_path), ["*.onnx"]) == str(tmp_path)
    assert model_uri(of(tmp_path)) == str(tmp_path)


def test_a_file_uri_is_unquoted(tmp_path: Path) -> None:
    path = tmp_path / "my model é.bin"
    path.touch()
    assert "%20" in path.as_uri()
    assert model_uri(of(path.as_uri())) == str(path)


def test_a_uri_of_another_scheme_is_returned_unchanged() -> None:
    assert model_uri(of("s3://bucket/model")) == "s3://bucket/model"
    assert model_uri(of("models:/iris/1")) == "models:/iris/1"


def test_a_drive_is_no_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "C:").mkdir()
    assert model_uri(of("C:/")) == "C:"


@pytest.mark.parametrize(
    ("uri", "sentence"), [(None, "has no parameters.uri"), ("/nowhere/at/all", "neither a file nor a folder")]
)
def test_a_uri_that_leads_nowhere(uri: str | None, sentence: str) -> None:
    with pytest.raises(InvalidModelURI, match=sentence):
        model_uri(of(uri))


async def test_the_awaitable_form(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").touch()
    assert await get_model_uri(of(tmp_path), ["model.joblib"]) == str(tmp_path / "model.joblib")


async def test_closing_closes_an_iterator_that_can_be_closed() -> None:
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    async with closing(numbers()) as found:
        assert await anext(found) == 1
    assert closed == [True]


async def test_closing_leaves_an_iterator_alone_that_cannot_be_closed() -> None:
    class Numbers(AsyncIterator[int]):
        async def __anext__(self) -> int:
            return 1

    async with closing(Numbers()) as found:
        assert await anext(found) == 1
