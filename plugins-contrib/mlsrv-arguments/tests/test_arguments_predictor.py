"""Functions as models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

import mlsrv
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import tensor_request, text_request


@mlsrv.predictor
def double(x: np.ndarray) -> np.ndarray:
    """Doubles numbers."""
    return 2 * x


@mlsrv.predictor
async def shout(texts: list[str]) -> list[str]:
    return [text.upper() for text in texts]


@mlsrv.predictor
def words(text: str) -> Iterator[str]:
    yield from text.split()


@mlsrv.predictor
async def letters(text: str) -> AsyncIterator[str]:
    for letter in text:
        yield letter


def test_the_function_stays_a_function() -> None:
    assert double(np.array([1, 2])).tolist() == [2, 4]
    assert list(words("a b")) == ["a", "b"]


@pytest.mark.parametrize("implementation", [double, f"{__name__}.double"])
async def test_a_function_is_a_model(implementation: object, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, sys.modules[double.__module__]))
    model = ModelSettings(name="double", implementation=implementation)  # type: ignore[arg-type]
    async with Kernel({"executor": "inline"}, models=[model]) as kernel:
        await kernel.loaded()
        response = await kernel.infer(tensor_request("double", [1.0, 2.5], name="x"))
        assert response.outputs[0].data.tolist() == [2.0, 5.0]
        assert [one.name for one in kernel.model_metadata("double").inputs] == ["x"]


async def test_a_coroutine_function_is_a_model() -> None:
    model = ModelSettings(name="shout", implementation=shout)  # type: ignore[arg-type]
    async with Kernel({"executor": "inline"}, models=[model]) as kernel:
        await kernel.loaded()
        response = await kernel.infer(text_request("shout", ["ab"], name="texts"))
        assert response.dict()["outputs"][0]["data"] == ["AB"]


@pytest.mark.parametrize(("function", "wanted"), [(words, ["ab", "c"]), (letters, ["a", "b", " ", "c"])])
async def test_a_generator_is_a_model_that_streams(function: object, wanted: list[str]) -> None:
    model = ModelSettings(name="m", implementation=function)  # type: ignore[arg-type]
    async with Kernel({"executor": "inline"}, models=[model]) as kernel:
        await kernel.loaded()
        found = [response async for response in kernel.stream(text_request("m", ["ab c"], name="text"))]
        assert [response.dict()["outputs"][0]["data"][0] for response in found] == wanted


def test_an_argument_without_an_annotation_is_refused() -> None:
    with pytest.raises(TypeError, match="annotation for x"):

        @mlsrv.predictor
        def wrong(x):  # type: ignore[no-untyped-def]
            return x
