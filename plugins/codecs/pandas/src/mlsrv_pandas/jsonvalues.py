"""JSON codec: tensors whose elements are JSON texts, the content type ``pd_json``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar

from mlsrv.codecs import InputCodec
from mlsrv.errors import CodecError
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.strings import elements
from mlsrv_protocol.types import Parameters, RequestInput, ResponseOutput

CONTENT_TYPE = "pd_json"


class JsonCodec(InputCodec):
    """Codec between a BYTES tensor of JSON texts and a list of their values. It is never selected by a
    payload, only by its content type.

    Columns of a DataFrame that no datatype can hold are sent this way: objects, lists, and any value next to
    a missing one (``null``). Values that JSON does not know are written as `mlsrv_pandas.cells.to_json` says.

    Raises:
        CodecError: the datatype is not BYTES, an element is not JSON, or a value cannot be written as JSON.
    """

    ContentType: ClassVar[str] = CONTENT_TYPE

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[Any]:
        return from_json_texts(request_input)

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[Any]:
        return from_json_texts(response_output)

    @classmethod
    def encode_input(cls, name: str, payload: Any, *, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        data = to_json_texts(name, payload, use_bytes)
        return RequestInput(name, [len(data), 1], Datatype.BYTES, data, Parameters(cls.ContentType))

    @classmethod
    def encode_output(
        cls, name: str, payload: Any, *, use_bytes: bool = True, **kwargs: Any
    ) -> ResponseOutput:
        data = to_json_texts(name, payload, use_bytes)
        return ResponseOutput(name, [len(data), 1], Datatype.BYTES, data, Parameters(cls.ContentType))


def from_json_texts(tensor: RequestInput | ResponseOutput) -> list[Any]:
    """Return the value of each element. Raises `CodecError`."""
    if tensor.datatype is not Datatype.BYTES:
        raise CodecError(
            f'Tensor "{tensor.name}": the content type "{CONTENT_TYPE}" takes the datatype BYTES, '
            f"not {tensor.datatype}."
        )
    values: list[Any] = []
    try:
        for text in elements(tensor.data):
            values.append(json.loads(text))
    except InvalidPayload as error:
        raise CodecError(f'Tensor "{tensor.name}": {error}') from None
    except (ValueError, RecursionError):
        raise CodecError(f'Tensor "{tensor.name}": element {len(values)} is not JSON.') from None
    return values


def to_json_texts(name: str, values: Iterable[Any], use_bytes: bool) -> list[Any]:
    """Return a JSON text for each value; missing values are ``null``. Raises `CodecError`."""
    texts: list[Any] = []
    try:
        for value in values:
            text = _json_text(value)
            texts.append(text.encode() if use_bytes else text)
    except (TypeError, ValueError, RecursionError) as error:
        raise CodecError(
            f'Tensor "{name}": element {len(texts)} cannot be written as JSON: {error}.'
        ) from None
    return texts


def _json_text(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_simpler)
    except (TypeError, ValueError):  # NaN or an infinity inside, or a key that is no text
        return json.dumps(_cells().to_json(value), ensure_ascii=False, allow_nan=False)


def _simpler(value: Any) -> Any:
    return _cells().simpler(value)


def _cells() -> ModuleType:
    # Late: a server imports this codec for every annotation that it looks up, and pandas takes its time.
    return import_module("mlsrv_pandas.cells")
