"""Annotations as metadata, and what they let requests be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest
from numpy.typing import NDArray

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.codecs import decode_args
from mlsrv.errors import CodecError, InferenceError, InputsNotFound
from mlsrv.types import InferenceRequest, MetadataTensor, RequestInput


@dataclass
class Person:
    name: str
    age: int
    nick: str | None = None


class Everything(MLModel):
    @decode_args
    def predict(
        self,
        rows: NDArray[np.float32],
        texts: list[str],
        top: int = 3,
        raw: bytes | None = None,
        mode: Literal["fast", "exact"] = "fast",
        any_numbers: np.ndarray | None = None,
    ) -> tuple[NDArray[np.int64], list[str]]:
        return rows.astype(np.int64), [f"{text} {top} {mode}" for text in texts]


class OfPeople(MLModel):
    @decode_args
    def predict(self, person: Person, factor: float = 1.0) -> str:
        return f"{person.name} {person.age * factor:g} {person.nick}"


class Row(TypedDict):
    city: str
    rooms: int
    price: float
    kind: Literal["house", "flat"]


class OfRows(MLModel):
    @decode_args
    def predict(self, rows: Annotated[dict[str, Any], Row], top: int = 1) -> int:
        return len(rows["city"])


class Untold(MLModel):
    @decode_args
    def predict(self, values: dict[str, Any]) -> np.ndarray:
        return np.array([len(values)])


async def metadata_of(implementation: Any, **settings: Any) -> tuple[list[Any], list[Any]]:
    model = ModelSettings(name="m", implementation=implementation, **settings)
    async with Kernel({"executor": "inline"}, models=[model]) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
        found = kernel.model_metadata("m").dict()
        return found.get("inputs", []), found.get("outputs", [])


async def answer(implementation: Any, **values: tuple[str, list[int], list[Any]]) -> list[Any]:
    model = ModelSettings(name="m", implementation=implementation)
    inputs = [RequestInput(name, shape, kind, data) for name, (kind, shape, data) in values.items()]
    async with Kernel({"executor": "inline"}, models=[model]) as kernel:
        await kernel.loaded()
        response = await kernel.infer(InferenceRequest(inputs, model_name="m"))
        return [output["data"] for output in response.dict()["outputs"]]


async def test_the_signature_is_the_metadata() -> None:
    inputs, outputs = await metadata_of(Everything)
    assert [(one["name"], one["datatype"], one["shape"]) for one in inputs] == [
        ("rows", "FP32", [-1, -1]),
        ("texts", "BYTES", [-1]),
        ("top", "INT64", [1]),
        ("raw", "BYTES", [1]),
        ("mode", "BYTES", [1]),
        ("any_numbers", "FP64", [-1, -1]),
    ]
    assert [one["parameters"] for one in inputs[1:5]] == [
        {"content_type": "str"},
        {"optional": True},
        {"content_type": "base64", "optional": True},
        {"content_type": "str", "choices": ["fast", "exact"], "optional": True},
    ]
    assert [(one["name"], one["datatype"], one["shape"]) for one in outputs] == [
        ("output-0", "INT64", [-1, -1]),
        ("output-1", "BYTES", [-1]),
    ]


async def test_declared_tensors_win() -> None:
    declared = [MetadataTensor("rows", "FP64", [-1, 4])]
    inputs, outputs = await metadata_of(Everything, inputs=declared, outputs=[*declared, *declared])
    assert [one["shape"] for one in inputs] == [[-1, 4]]
    assert [one["shape"] for one in outputs] == [[-1, 4], [-1, 4]]


async def test_what_annotations_do_not_tell_is_left_out() -> None:
    assert await metadata_of(Untold) == ([], [])


async def test_annotations_do_not_narrow_what_a_request_may_be() -> None:
    values = {"rows": ("FP64", [2], [1.0, 2.0]), "texts": ("BYTES", [1, 1], ["a"])}
    assert await answer(Everything, **values) == [[1, 2], ["a 3 fast"]]


async def test_a_dataclass_is_an_input_for_each_field() -> None:
    inputs, _ = await metadata_of(OfPeople)
    assert [one["name"] for one in inputs] == ["name", "age", "nick", "factor"]
    ada = {"name": ("BYTES", [1], ["Ada"]), "age": ("INT64", [1], [36])}
    assert await answer(OfPeople, **ada) == [["Ada 36 None"]]
    more = ada | {"nick": ("BYTES", [1], ["A"]), "factor": ("FP64", [1], [0.5])}
    assert await answer(OfPeople, **more) == [["Ada 18 A"]]
    with pytest.raises(InputsNotFound, match="age"):
        await answer(OfPeople, name=("BYTES", [1], ["Ada"]))
    with pytest.raises(InputsNotFound, match="height"):
        await answer(OfPeople, **ada, height=("INT64", [1], [1]))


async def test_a_literal_takes_its_choices_alone() -> None:
    values = {"rows": ("FP32", [1, 1], [1.0]), "texts": ("BYTES", [1], ["a"])}
    assert await answer(Everything, **values, mode=("BYTES", [1], ["exact"])) == [[1], ["a 3 exact"]]
    with pytest.raises((CodecError, InferenceError), match="one of fast, exact is expected"):
        await answer(Everything, **values, mode=("BYTES", [1], ["slow"]))


async def test_the_metadata_is_enough_for_a_warm_up() -> None:
    model = ModelSettings(name="m", implementation=OfPeople, warm_up=True)
    async with Kernel({"executor": "inline"}, models=[model]) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []


@pytest.mark.parametrize("choices", [Literal["a", 1], Literal[None]])  # type: ignore[valid-type]
async def test_a_literal_of_other_kinds_is_an_error_when_the_model_loads(choices: Any) -> None:
    class Odd(MLModel):
        async def predict(self, payload):  # type: ignore[no-untyped-def]
            return payload

    async def predict(self: Any, mode: choices) -> str:
        return str(mode)

    predict.__annotations__["mode"] = choices
    Odd.predict = decode_args(predict)  # type: ignore[method-assign]
    model = ModelSettings(name="m", implementation=Odd)
    async with Kernel({"executor": "inline"}, models=[model]) as kernel:
        await kernel.loaded()
        assert "no codec decodes" in kernel.problems()[0]


async def test_the_columns_of_a_table_are_told() -> None:
    inputs, _ = await metadata_of(OfRows)
    assert [(one["name"], one["datatype"], one["shape"]) for one in inputs] == [
        ("city", "BYTES", [-1]),
        ("rooms", "INT64", [-1]),
        ("price", "FP64", [-1]),
        ("kind", "BYTES", [-1]),
        ("top", "INT64", [1]),
    ]
    assert inputs[3]["parameters"]["choices"] == ["house", "flat"]
