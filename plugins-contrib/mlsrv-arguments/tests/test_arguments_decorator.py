# ruff: noqa: UP006, UP035, UP045 - other spellings of annotations are what is tested
"""decode_args: annotations decide how inputs are decoded and how results are encoded."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, List, Optional

import numpy as np
import numpy.typing as npt
import pytest

from mlsrv.codecs import (
    CodecRegistry,
    InputCodec,
    RequestCodec,
    decode_args,
    register_input_codec,
    register_request_codec,
)
from mlsrv.context import CallContext
from mlsrv.errors import (
    CodecError,
    CodecNotFound,
    InputsNotFound,
    MLSrvError,
    ModelFailed,
    ModelLoadError,
    OfferClash,
    OutputNotFound,
)
from mlsrv.kernel import Kernel
from mlsrv.model import MLModel
from mlsrv.plugins.markers import hookimpl
from mlsrv.plugins.offers import CodecOffer
from mlsrv.settings import ModelSettings
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

# --- a few codecs, as plugins would offer them
# ---------------------------------------------------------------------


class Arrays(InputCodec):
    ContentType = "np"
    TypeHint = np.ndarray

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, np.ndarray)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        return np.array(request_input.data).reshape(request_input.shape)

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        array = np.asarray(payload, np.float64)
        return ResponseOutput(name, array.shape, "FP64", array.reshape(-1), {"content_type": "np"})


class Texts(InputCodec):
    ContentType = "str"
    TypeHint = list[str]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, list) and all(isinstance(text, str) for text in payload)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        if request_input.datatype != "BYTES":
            raise CodecError("no texts")
        return list(request_input.data)

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        if not isinstance(payload, list) or any(not isinstance(text, str) for text in payload):
            raise CodecError(f"{payload!r} is not a list of texts")
        return ResponseOutput(name, [len(payload), 1], "BYTES", payload, {"content_type": "str"})


class Dates(InputCodec):
    ContentType = "datetime"
    TypeHint = (list[datetime], list[str | datetime])

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        return [datetime.fromisoformat(text) for text in request_input.data]

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        return ResponseOutput(name, [len(payload)], "BYTES", [date.isoformat() for date in payload])


class Shouted(Texts):
    """A subclass that inherits the hint: it must not take its place."""

    ContentType = "shouted"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return False

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        return [text.upper() for text in request_input.data]

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        return super().encode_output(name, [text.upper() for text in payload])


class Table:
    """What a DataFrame would be."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns


class Tables(RequestCodec):
    ContentType = "table"
    TypeHint = Table

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, Table)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        return Table({tensor.name: list(tensor.data) for tensor in request.inputs})

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        if not isinstance(payload, Table):
            raise CodecError("no table")
        return InferenceResponse(
            outputs=[
                ResponseOutput(name, [len(data)], "INT64", data) for name, data in payload.columns.items()
            ]
        )


class Codecs:
    @hookimpl
    def mlsrv_codecs(self) -> list[CodecOffer]:
        return [
            CodecOffer("shouted", Shouted),
            CodecOffer("np", Arrays),
            CodecOffer("str", Texts),
            CodecOffer("datetime", Dates),
            CodecOffer("table", Tables, "request"),
        ]


# --- asking a model
# ------------------------------------------------------------------------------------------------

INT = RequestInput("x", [2], "INT64", [1, 2])
TEXT = RequestInput("t", [2], "BYTES", ["a", "b"])
Answer = dict[str, Any]
Sent = tuple[str, list[int], Any]


async def ask(
    cls: type[MLModel],
    *inputs: RequestInput,
    outputs: list[RequestOutput] | None = None,
    parameters: dict[str, Any] | None = None,
    context: CallContext | None = None,
    inputs_declared: list[MetadataTensor] | None = None,
    declared: list[MetadataTensor] | None = None,
) -> Answer:
    """What the model answers: the data of each output by name."""
    model = ModelSettings(name="m", implementation=cls, inputs=inputs_declared or [], outputs=declared or [])
    async with Kernel(models=[model], plugins=[Codecs()], discover=False) as kernel:
        await kernel.loaded()
        if kernel.problems():
            raise ModelLoadError(kernel.handle("m").reason)
        request = InferenceRequest(list(inputs), model_name="m", outputs=outputs, parameters=parameters)
        response = await kernel.infer(request, context)
        return {output["name"]: output["data"] for output in response.dict()["outputs"]}


def deciding(hint: Any, returned: Any = None) -> type[MLModel]:
    """A model with one argument of a hint, which answers with its text form."""

    async def predict(self: Any, x: Any) -> Any:
        return [repr(x.tolist() if isinstance(x, np.ndarray) else x)]

    predict.__annotations__ = {"x": hint, "return": List[str] if returned is None else returned}
    return type("Deciding", (MLModel,), {"predict": decode_args(predict)})


def returning(hint: Any, value: Any) -> type[MLModel]:
    """A model without inputs that returns a value."""

    def predict(self: Any) -> Any:
        return value

    predict.__annotations__ = {"return": hint}
    return type("Returning", (MLModel,), {"predict": decode_args(predict)})


# --- arguments
# -----------------------------------------------------------------------------------------------------

NUMBERS = ("INT64", [2], [1, 2])
STRINGS = ("BYTES", [2], ["a", "b"])
MOMENT = ("BYTES", [1], ["2022-01-11"])


@pytest.mark.parametrize(
    ("hint", "sent", "found"),
    [
        (np.ndarray, NUMBERS, "[1, 2]"),
        (npt.NDArray[np.float32], NUMBERS, "[1, 2]"),
        (npt.NDArray[Any], ("INT64", [1, 2], [1, 2]), "[[1, 2]]"),
        (np.ndarray | None, NUMBERS, "[1, 2]"),
        (Annotated[np.ndarray, "rows"], NUMBERS, "[1, 2]"),
        (Optional[Annotated[np.ndarray, "rows"]], NUMBERS, "[1, 2]"),
        (list[str], STRINGS, "['a', 'b']"),
        (Sequence[str], STRINGS, "['a', 'b']"),
        (list[str] | None, STRINGS, "['a', 'b']"),
        (Optional[list[str]], STRINGS, "['a', 'b']"),
        (list[datetime], MOMENT, "[datetime.datetime(2022, 1, 11, 0, 0)]"),
        (list[str | datetime], MOMENT, "[datetime.datetime(2022, 1, 11, 0, 0)]"),
        (datetime, MOMENT, "datetime.datetime(2022, 1, 11, 0, 0)"),
        (str, ("BYTES", [1, 1], ["a"]), "'a'"),
        (int, ("INT32", [1], [7]), "7"),
        (float | None, ("FP32", [], [0.5]), "0.5"),
        (bool, ("BOOL", [1], [True]), "True"),
        (list[int], ("UINT8", [2, 1], [1, 2]), "[1, 2]"),
        (list[float], ("FP32", [1, 2], [1.5, 2.5]), "[1.5, 2.5]"),
        (list[bool], ("BOOL", [1], [False]), "[False]"),
        (Any, NUMBERS, "[1, 2]"),
        (Any, STRINGS, "['a', 'b']"),
        (dict, NUMBERS, "{'x': array([1, 2])}"),
        (dict[str, list[int]], NUMBERS, "{'x': [1, 2]}"),
        (Mapping[str, Any], NUMBERS, "{'x': array([1, 2])}"),
    ],
)  # fmt: skip
async def test_hints_that_a_person_would_write(
    hint: Any, sent: tuple[str, list[int], Any], found: str
) -> None:
    datatype, shape, data = sent
    assert await ask(deciding(hint), RequestInput("x", shape, datatype, data)) == {"output-0": [found]}


@pytest.mark.parametrize(
    ("hint", "sent", "sentence"),
    [
        (list[str], NUMBERS, "no texts"),
        (str, STRINGS, 'input "x": one value is expected, 2 were sent'),
        (int, NUMBERS, 'input "x": one value is expected, 2 were sent'),
        (list[int], STRINGS, 'input "x": numbers are expected, BYTES was sent'),
        (list[int], ("INT64", [2, 2], [1, 2, 3, 4]), r"\[n, 1\] is expected, not \[2, 2\]"),
        (list[int], ("INT64", [1], [1.5]), r"data\[0\] is 1\.5"),
        (list[datetime], ("BYTES", [1], ["today"]), 'input "x": not valid for the content type "datetime"'),
    ],
)  # fmt: skip
async def test_inputs_that_do_not_fit(hint: Any, sent: Sent, sentence: str) -> None:
    datatype, shape, data = sent
    with pytest.raises(CodecError, match=sentence):
        await ask(deciding(hint), RequestInput("x", shape, datatype, data))


class Mixed(MLModel):
    @decode_args
    async def predict(
        self,
        x: np.ndarray,
        t: list[str],
        *,
        scale: float = 2.0,
        note: str | None,
        headers: dict[str, str],
        parameters: Parameters,
        request: InferenceRequest,
        context: CallContext,
    ) -> list[str]:
        return [
            f"{x.tolist()} {t} {scale} {note}",
            f"{headers} {parameters.get('k')} {request.model_name} {context.request_id}",
        ]


async def test_defaults_headers_parameters_and_context() -> None:
    context = CallContext(request_id="r1", headers={"a": "1"})
    found = await ask(Mixed, INT, TEXT, parameters={"k": "v"}, context=context)
    assert found == {"output-0": ["[1, 2] ['a', 'b'] 2.0 None", "{'a': '1'} v m r1"]}
    scale, note = RequestInput("scale", [1], "FP32", [0.5]), RequestInput("note", [1], "BYTES", ["n"])
    found = await ask(Mixed, INT, TEXT, scale, note, parameters={"headers": {"b": "2"}}, context=context)
    assert found == {"output-0": ["[1, 2] ['a', 'b'] 0.5 n", "{'b': '2'} None m r1"]}


@pytest.mark.parametrize(
    ("hint", "sent", "found"),
    [
        (int, ("FP32", [1], [3.0]), "3"),
        (int, ("FP64", [1], [-(2.0**53)]), "-9007199254740992"),
        (int, ("UINT64", [1], [2**64 - 1]), "18446744073709551615"),
        (Optional[int], ("FP16", [1], [3.0]), "3"),
        (list[int], ("FP64", [2], [3.0, -0.0]), "[3, 0]"),
        (bool, ("INT8", [1], [1]), "True"),
        (list[bool], ("UINT8", [2], [1, 0]), "[True, False]"),
        (float, ("INT64", [1], [3]), "3.0"),
        (list[float], ("UINT8", [2], [1, 2]), "[1.0, 2.0]"),
        (float, ("FP32", [1], [None]), "nan"),
        (dict[str, int], ("FP32", [1], [3.0]), "{'x': 3}"),
    ],
)
async def test_numbers_are_converted_where_nothing_is_lost(
    hint: Any, sent: tuple[str, list[int], Any], found: str
) -> None:
    datatype, shape, data = sent
    assert await ask(deciding(hint), RequestInput("x", shape, datatype, data)) == {"output-0": [found]}


@pytest.mark.parametrize(
    ("hint", "datatype", "value", "sentence"),
    [
        (int, "FP32", 3.5, "whole numbers are expected, element 0 is 3.5"),
        (int, "FP32", None, "whole numbers are expected, element 0 is nan"),
        (int, "FP64", float("inf"), "whole numbers are expected, element 0 is inf"),
        (int, "FP64", 2.0**54, "whole numbers are expected, element 0 is 1.8"),
        (int, "FP32", 2.0**25, "whole numbers are expected, element 0 is 33554432.0"),
        (int, "BOOL", True, "whole numbers are expected, BOOL was sent"),
        (Optional[int], "FP32", 3.5, "whole numbers are expected, element 0 is 3.5"),
        (list[int], "FP32", 3.5, "whole numbers are expected, element 0 is 3.5"),
        (dict[str, list[int]], "FP32", 3.5, "whole numbers are expected, element 0 is 3.5"),
        (bool, "FP32", 3.5, "true and false are expected, FP32 was sent"),
        (bool, "FP32", 1.0, "true and false are expected, FP32 was sent"),
        (bool, "INT64", 2, "true and false, or 1 and 0, are expected, element 0 is 2"),
        (float, "BOOL", True, "numbers are expected, BOOL was sent"),
        (float, "INT64", 2**53 + 1, "numbers are expected, element 0 is 9007199254740993"),
    ],
)
async def test_numbers_that_are_not_of_the_annotated_type_are_refused(
    hint: Any, datatype: str, value: Any, sentence: str
) -> None:
    with pytest.raises(CodecError, match=sentence):
        await ask(deciding(hint), RequestInput("x", [1], datatype, [value]))


async def test_a_method_that_takes_the_request_alone_takes_any_inputs() -> None:
    class Whole(MLModel):
        @decode_args
        def predict(self, request: InferenceRequest, context: CallContext) -> list[str]:
            return [tensor.name for tensor in request.inputs]

    assert await ask(Whole, INT, TEXT) == {"output-0": ["x", "t"]}
    assert await ask(Whole) == {"output-0": []}


class Word(str, Enum):
    CAT = "cat"


async def test_texts_of_subclasses_are_sent_by_their_value() -> None:
    assert await ask(returning(list[str], [Word.CAT, np.str_("a")])) == {"output-0": ["cat", "a"]}
    assert await ask(returning(str, Word.CAT)) == {"output-0": ["cat"]}
    assert await ask(returning(Any, [Word.CAT])) == {"output-0": ["cat"]}
    assert await ask(returning(dict, {Word.CAT: [1], np.str_("dog"): [2]})) == {"cat": [1], "dog": [2]}


async def test_missing_and_unknown_inputs_are_named() -> None:
    with pytest.raises(InputsNotFound, match=r"Model m needs the inputs t, x; it takes note, scale, t, x\."):
        await ask(Mixed)
    other = RequestInput("headers", [1], "BYTES", ["a"])
    with pytest.raises(
        InputsNotFound, match=r"does not know the inputs headers, q; it takes note, scale, t, x\."
    ):
        await ask(Mixed, INT, TEXT, other, RequestInput("q", [1], "INT64", [1]))


class WithTable(MLModel):
    @decode_args
    def predict(self, t: list[str], table: Table) -> list[str]:
        return [*t, str(table.columns)]


async def test_a_whole_request_codec_takes_the_remaining_inputs() -> None:
    other = RequestInput("y", [1], "BYTES", ["c"], {"content_type": "shouted"})
    assert await ask(WithTable, INT, TEXT, other) == {"output-0": ["a", "b", "{'x': [1, 2], 'y': ['C']}"]}
    assert await ask(WithTable, TEXT) == {"output-0": ["a", "b", "{}"]}
    with pytest.raises(InputsNotFound, match=r"needs the inputs t; it takes any others, t\."):
        await ask(WithTable, INT)


async def test_the_remaining_inputs_may_be_optional() -> None:
    class Optional_(MLModel):
        @decode_args
        def predict(self, table: Table | None) -> list[str]:
            return ["none" if table is None else str(table.columns)]

    assert await ask(Optional_) == {"output-0": ["none"]}
    assert await ask(Optional_, INT) == {"output-0": ["{'x': [1, 2]}"]}


async def test_the_hint_decides_and_not_the_content_type() -> None:
    given = RequestInput("x", [1], "BYTES", ["a"], {"content_type": "shouted"})
    assert await ask(deciding(list[str]), given) == {"output-0": ["['a']"]}
    assert await ask(deciding(Any), given) == {"output-0": ["['A']"]}
    declared = [MetadataTensor("x", "BYTES", [-1], {"content_type": "shouted"})]
    plain = RequestInput("x", [1], "BYTES", ["a"])
    assert await ask(deciding(Any), plain, inputs_declared=declared) == {"output-0": ["['A']"]}


async def test_unknown_content_types_are_refused_all_the_same() -> None:
    given = RequestInput("x", [1], "BYTES", ["a"], {"content_type": "nope"})
    with pytest.raises(CodecNotFound, match='input "x": unknown content type "nope"; known are datetime, np'):
        await ask(deciding(list[str]), given)
    with pytest.raises(CodecNotFound, match='request: unknown content type "np"; known are counted, table'):
        await ask(deciding(np.ndarray), INT, parameters={"content_type": "np"})


# --- results
# -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "value", "found"),
    [
        (np.ndarray, np.array([1.0, 2.0]), {"output-0": [1.0, 2.0]}),
        (np.ndarray, np.array(0.5), {"output-0": [0.5]}),
        (np.ndarray, [1, 2], {"output-0": [1.0, 2.0]}),
        (Optional[np.ndarray], None, {}),
        (list[str], ["a"], {"output-0": ["a"]}),
        (str, "a", {"output-0": ["a"]}),
        (int, 3, {"output-0": [3]}),
        (float, 3, {"output-0": [3.0]}),
        (list[bool], [True], {"output-0": [True]}),
        (tuple[np.ndarray, list[str]], (np.ones(1), ["a"]), {"output-0": [1.0], "output-1": ["a"]}),
        (tuple[list[str], list[str] | None], (["a"], None), {"output-0": ["a"]}),
        (tuple[str, ...], ("a", "b", "c"), {"output-0": ["a"], "output-1": ["b"], "output-2": ["c"]}),
        ((np.ndarray, list[str]), (np.ones(1), ["a"]), {"output-0": [1.0], "output-1": ["a"]}),
        (Table, Table({"p": [1], "q": [2]}), {"p": [1], "q": [2]}),
        (tuple[Table, str], (Table({"p": [1]}), "a"), {"p": [1], "output-1": ["a"]}),
        (dict, {"p": np.ones(1), "q": ["a"], "r": 1}, {"p": [1.0], "q": ["a"], "r": [1]}),
        (dict[str, np.ndarray], {"p": [1]}, {"p": [1.0]}),
        (Any, ["a"], {"output-0": ["a"]}),
        (Any, (["a"], 1.5, [1, 2]), {"output-0": ["a"], "output-1": [1.5], "output-2": [1, 2]}),
        (Any, True, {"output-0": [True]}),
        (Any, Table({"p": [1]}), {"p": [1]}),
        (Any, {"p": ["a"]}, {"p": ["a"]}),
        (InferenceResponse, InferenceResponse(outputs=[ResponseOutput("z", [1], "INT32", [1])]), {"z": [1]}),
        (np.ndarray, InferenceResponse(outputs=[]), {}),
    ],
)  # fmt: skip
async def test_results(hint: Any, value: Any, found: Answer) -> None:
    assert await ask(returning(hint, value)) == found


async def test_without_a_return_annotation_the_value_decides() -> None:
    class Model(MLModel):
        @decode_args
        def predict(self, x: np.ndarray):  # type: ignore[no-untyped-def]  # what is tested
            return x, ["a"]

    assert await ask(Model, INT) == {"output-0": [1.0, 2.0], "output-1": ["a"]}


@pytest.mark.parametrize(
    ("hint", "value", "sentence"),
    [
        (
            list[str],
            [1],
            r"predict returned a list that does not fit its return annotation: \[1\] is not a list",
        ),
        (int, "a", "returned a str that does not fit its return annotation"),
        (list[int], 7, "returned a int that does not fit its return annotation"),
        (np.ndarray, None, "returned a NoneType .* None is not annotated"),
        (tuple[str, str], ("a",), "returned a tuple .* 2 values are annotated"),
        (tuple[str, str], "abc", "returned a str .* a tuple is annotated"),
        (tuple[str, str], None, "returned a NoneType .* a tuple is annotated"),
        (dict, ["a"], "returned a list .* a dict is annotated"),
        (Table, {}, "returned a dict .* no table"),
        (InferenceResponse, ["a"], "returned a list .* an InferenceResponse is annotated"),
        (Any, object(), "returned a object .* no codec encodes a builtins.object"),
    ],
)
async def test_results_that_do_not_fit_are_the_models_fault(hint: Any, value: Any, sentence: str) -> None:
    with pytest.raises(ModelFailed, match=f"Model m: .*{sentence}"):
        await ask(returning(hint, value))


async def test_outputs_that_were_asked_for() -> None:
    model = returning(tuple[list[str], np.ndarray], (["a"], np.ones(1)))
    assert await ask(model, outputs=[RequestOutput("output-1")]) == {"output-1": [1.0]}
    shouted = RequestOutput("output-0", {"content_type": "shouted"})
    assert await ask(model, outputs=[shouted]) == {"output-0": ["A"]}
    with pytest.raises(OutputNotFound, match='Model m has no output "z"; it has output-0, output-1'):
        await ask(model, outputs=[RequestOutput("z")])
    with pytest.raises(CodecNotFound, match='output "output-0": unknown content type "nope"'):
        await ask(model, outputs=[RequestOutput("output-0", {"content_type": "nope"})])


async def test_declared_outputs_give_names_and_content_types() -> None:
    declared = [
        MetadataTensor("words", "BYTES", [-1], {"content_type": "shouted"}),
        MetadataTensor("numbers", "FP64", [-1]),
    ]
    model = returning(tuple[list[str], np.ndarray], (["a"], np.ones(1)))
    assert await ask(model, declared=declared) == {"words": ["A"], "numbers": [1.0]}


# --- when it is decided
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("define", "sentence"),
    [
        (lambda self, x: x, "decode_args needs an annotation for x"),
        (lambda self, *x: x, r"decode_args passes arguments by name, \*x cannot be"),
        (lambda self, **x: x, r"decode_args passes arguments by name, \*\*x cannot be"),
        (lambda self, x, /: x, "decode_args passes arguments by name, x cannot be"),
    ],
)
def test_what_is_wrong_with_the_signature_shows_when_the_class_is_defined(define: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        decode_args(define)


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (deciding(set), "no codec decodes set, the annotation of x"),
        (deciding(list), "no codec decodes list, the annotation of x"),
        (deciding(int | str), r"no codec decodes int \| str, the annotation of x"),
        (deciding(list[bytes]), r"no codec decodes list\[bytes\]"),
        (deciding(dict[str, set[int]]), "no codec decodes dict"),
        (deciding("Nowhere"), "an annotation cannot be resolved: name 'Nowhere' is not defined"),
        (deciding(str, set), "no codec encodes .*set.*, the return annotation"),
        (deciding(str, tuple[str, set[int]]), "no codec encodes .*set.*, the return annotation"),
    ],
)
async def test_what_is_wrong_with_the_annotations_shows_when_the_model_is_loaded(
    cls: type[MLModel], sentence: str
) -> None:
    with pytest.raises(ModelLoadError, match=f"Model m failed to load: TypeError: .*predict: {sentence}"):
        await ask(cls)


async def test_two_arguments_for_the_remaining_inputs_are_refused() -> None:
    class Model(MLModel):
        @decode_args
        def predict(self, one: Table, two: dict[str, Any]) -> str:
            return "never"

    with pytest.raises(ModelLoadError, match="both one and two would take all remaining inputs"):
        await ask(Model)


async def test_annotations_are_resolved_late_and_once() -> None:
    assert inspect.iscoroutinefunction(Later.predict)
    assert await ask(Later, TEXT) == {"output-0": ["later: ['a', 'b']"]}


class Later(MLModel):
    """Its annotations are texts, and name what is defined below."""

    @decode_args
    async def predict(self, t: Own) -> list[str]:
        return [str(t)]


class Own:
    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def __str__(self) -> str:
        return f"later: {self.texts}"


@register_input_codec
class OwnCodec(InputCodec):
    ContentType = "own"
    TypeHint = Own

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Own:
        return Own(list(request_input.data))


class Counted(list[str]):
    """Another type of this module, for a whole request."""


@register_request_codec
class CountedCodec(RequestCodec):
    ContentType = "counted"
    TypeHint = Counted

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Counted:
        return Counted(tensor.name for tensor in request.inputs)


async def test_a_codec_of_the_models_module_for_whole_requests() -> None:
    class Model(MLModel):
        @decode_args
        def predict(self, names: Counted) -> list[str]:
            return names

    assert await ask(Model, INT, TEXT) == {"output-0": ["x", "t"]}


def test_the_decorated_method_looks_like_the_original() -> None:
    assert Mixed.predict.__name__ == "predict"
    assert inspect.iscoroutinefunction(Mixed.predict)
    assert not inspect.iscoroutinefunction(WithTable.predict)
    assert inspect.unwrap(Mixed.predict).__code__.co_filename == __file__


async def test_instances_of_one_class_are_decided_apart() -> None:
    one, two = ([MetadataTensor(name, "BYTES", [-1])] for name in ("one", "two"))
    model = returning(str, "a")
    assert await ask(model, declared=one) == {"one": ["a"]}
    assert await ask(model, declared=two) == {"two": ["a"]}


# --- streams
# -------------------------------------------------------------------------------------------------------


class Counting(MLModel):
    closed: list[str] = []  # shared with the test on purpose

    @decode_args
    async def predict_stream(self, t: list[str], n: int = 2) -> AsyncIterator[list[str]]:
        try:
            for number in range(n):
                yield [f"{text}{number}" for text in t]
        finally:
            self.closed.append(t[0])


class CountingInThreads(MLModel):
    @decode_args
    def predict_stream(self, t: list[str], n: int = 2) -> Generator[list[str], None, None]:
        for number in range(n):
            yield [f"{text}{number}" for text in t]


async def stream(cls: type[MLModel], *requests: InferenceRequest, take: int = 100) -> list[Any]:
    async def sent() -> AsyncIterator[InferenceRequest]:
        for request in requests:
            yield request

    model = ModelSettings(name="m", implementation=cls)
    async with Kernel(models=[model], plugins=[Codecs()], discover=False) as kernel:
        await kernel.loaded()
        found = []
        responses = kernel.stream(sent())
        async for response in responses:
            found.append(response.dict()["outputs"][0]["data"])
            if len(found) == take:
                break
        await responses.aclose()  # type: ignore[attr-defined]  # an async generator
        return found


@pytest.mark.parametrize("cls", [Counting, CountingInThreads])
async def test_each_request_of_a_stream_is_decoded(cls: type[MLModel]) -> None:
    first = InferenceRequest([TEXT], model_name="m")
    second = InferenceRequest(
        [RequestInput("t", [1], "BYTES", ["c"]), RequestInput("n", [1], "INT64", [1])], model_name="m"
    )
    assert await stream(cls, first, second) == [["a0", "b0"], ["a1", "b1"], ["c0"]]


@pytest.mark.parametrize("cls", [Counting, CountingInThreads])
async def test_a_request_of_a_stream_is_checked_like_any_other(cls: type[MLModel]) -> None:
    with pytest.raises(InputsNotFound, match="needs the inputs t"):
        await stream(cls, InferenceRequest([], model_name="m"))


async def test_leaving_a_stream_closes_the_generator() -> None:
    Counting.closed.clear()
    assert await stream(Counting, InferenceRequest([TEXT], model_name="m"), take=1) == [["a0", "b0"]]
    assert Counting.closed == ["a"]


async def test_many_calls_at_once_do_not_mix() -> None:
    model = ModelSettings(name="m", implementation=deciding(list[str]))
    async with Kernel(models=[model], plugins=[Codecs()], discover=False) as kernel:
        await kernel.loaded()
        requests = [
            InferenceRequest([RequestInput("x", [1], "BYTES", [str(number)])], model_name="m")
            for number in range(50)
        ]
        found = await asyncio.gather(*map(kernel.infer, requests))
        assert [response.outputs[0].data for response in found] == [
            [repr([str(number)])] for number in range(50)
        ]


async def test_a_model_works_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlsrv.codecs.registry import CodecRegistry

    model = WithTable(ModelSettings(name="m"))
    model.bind(CodecRegistry([("test", offer) for offer in Codecs().mlsrv_codecs()]))
    response = model.predict(InferenceRequest([TEXT]))
    assert isinstance(response, InferenceResponse)
    with pytest.raises(MLSrvError):
        model.predict(InferenceRequest([]))


# --- annotations that two codecs claim
# ------------------------------------------------------------------------------------------------


class OtherArrays(Arrays):
    ContentType = "other"
    TypeHint = np.ndarray


class OtherPlugin:
    @hookimpl
    def mlsrv_codecs(self) -> list[CodecOffer]:
        return [CodecOffer("other", OtherArrays)]


class BrokenPlugin:
    @hookimpl
    def mlsrv_codecs(self) -> list[CodecOffer]:
        return [CodecOffer("broken", "mlsrv_nothing:Codec")]


async def loading(cls: type[MLModel], *plugins: object) -> str:
    """The reason why a model cannot be loaded; empty if it can."""
    model = ModelSettings(name="m", implementation=cls)
    async with Kernel(models=[model], plugins=list(plugins), discover=False) as kernel:
        await kernel.loaded()
        return kernel.handle("m").reason or ""


@pytest.mark.parametrize("model", [deciding(np.ndarray), returning(np.ndarray, 1)])
async def test_an_annotation_that_two_codecs_claim_is_a_clash(model: type[MLModel]) -> None:
    for plugins in ((Codecs(), OtherPlugin()), (OtherPlugin(), Codecs())):
        reason = await loading(model, *plugins)
        assert 'The codec of the annotation "ndarray" is offered by both ' in reason
        assert "Codecs" in reason
        assert "OtherPlugin" in reason


async def test_a_clash_or_a_broken_codec_leaves_other_annotations_alone() -> None:
    assert await loading(deciding(list[str]), Codecs(), OtherPlugin()) == ""
    assert await loading(deciding(np.ndarray), BrokenPlugin(), Codecs()) == ""
    assert await loading(returning(int, 1), BrokenPlugin(), Codecs()) == ""
    assert 'codec "broken"' in await loading(deciding(frozenset), Codecs(), BrokenPlugin())
    assert 'codec "broken"' in await loading(returning(frozenset, 1), Codecs(), BrokenPlugin())


async def test_a_codec_of_the_model_comes_before_those_of_plugins() -> None:
    @register_input_codec
    class Own(Arrays):
        ContentType = "own"
        TypeHint = np.ndarray

        @classmethod
        def decode_input(cls, request_input: RequestInput) -> Any:
            return "own"

    @register_input_codec
    class Second(Own):
        ContentType = "second"
        TypeHint = np.ndarray

    registry = CodecRegistry([("a", CodecOffer("np", Arrays)), ("b", CodecOffer("other", OtherArrays))])
    child = registry.child()
    child.add(CodecOffer("own", Own), "Own of model m")

    def claims(codec: Any) -> bool:
        return vars(codec).get("TypeHint") is np.ndarray

    assert child.claiming("input", claims, "ndarray") is Own
    child.add(CodecOffer("again", Own), "Own of model m")
    assert child.claiming("input", claims, "ndarray") is Own
    child.add(CodecOffer("second", Second), "Second of model m")
    with pytest.raises(OfferClash, match="both Own of model m and Second of model m"):
        child.claiming("input", claims, "ndarray")
    with pytest.raises(OfferClash, match="both a and b"):
        registry.claiming("input", claims, "ndarray")
    assert registry.claiming("request", claims, "ndarray") is None
