"""Elements: codecs of a BYTES tensor that is a list, with one Python value for each element."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from mlsrv.codecs.base import InputCodec
from mlsrv.errors import CodecError
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.strings import elements
from mlsrv_protocol.types import Parameters, RequestInput, ResponseOutput

_T = TypeVar("_T")
Tensor = RequestInput | ResponseOutput


class ElementsCodec(InputCodec):
    """Base of codecs between the elements of a BYTES tensor and Python values, one by one.

    A subclass has `decode_element` and `encode_element`. A tensor is read as a list when at most one
    dimension of its shape is not 1 (``[n]``, ``[n, 1]``, ``[1, n]``); a list of n values is written with the
    shape ``[n, 1]``, and a single value as a list of one.

    Attributes:
        Element: the class, or classes, of the values.

    Raises:
        CodecError: the datatype is not BYTES, the shape is not that of a list, or `decode_element` or
            `encode_element` raised a `ValueError`.
    """

    Element: ClassVar[type | tuple[type, ...]]

    @classmethod
    def decode_element(cls, element: str | bytes) -> Any:
        """Return the value of one element, which is `bytes` if it came in binary form.

        Raises `ValueError`.
        """
        raise NotImplementedError

    @classmethod
    def encode_element(cls, value: Any) -> str:
        """Return the text of one value. Raises `ValueError`."""
        raise NotImplementedError

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        values = payload if isinstance(payload, list) else [payload]
        return bool(values) and all(isinstance(value, cls.Element) for value in values)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[Any]:
        return cls._decode(request_input)

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[Any]:
        return cls._decode(response_output)

    @classmethod
    def encode_input(cls, name: str, payload: Any, *, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        data = cls._encode(name, payload, use_bytes)
        return RequestInput(name, [len(data), 1], Datatype.BYTES, data, Parameters(cls.ContentType))

    @classmethod
    def encode_output(
        cls, name: str, payload: Any, *, use_bytes: bool = True, **kwargs: Any
    ) -> ResponseOutput:
        data = cls._encode(name, payload, use_bytes)
        return ResponseOutput(name, [len(data), 1], Datatype.BYTES, data, Parameters(cls.ContentType))

    @classmethod
    def _decode(cls, tensor: Tensor) -> list[Any]:
        return _each(tensor.name, cls.decode_element, _flat(tensor, cls.ContentType))

    @classmethod
    def _encode(cls, name: str, payload: Any, use_bytes: bool) -> list[str] | list[bytes]:
        values = [payload] if isinstance(payload, cls.Element) else payload
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            kind = type(payload).__name__
            raise CodecError(f'Tensor "{name}": the content type "{cls.ContentType}" cannot hold a {kind}.')
        texts: list[str] = _each(name, cls.encode_element, values)
        return _each(name, _utf8, texts) if use_bytes else texts


def _flat(tensor: Tensor, content_type: str) -> list[str | bytes]:
    where = f'Tensor "{tensor.name}": the content type "{content_type}"'
    if tensor.datatype is not Datatype.BYTES:
        raise CodecError(f"{where} takes the datatype BYTES, not {tensor.datatype}.")
    try:
        found = elements(tensor.data)
    except InvalidPayload as error:
        raise CodecError(f'Tensor "{tensor.name}": {error}') from None
    if len(found) == 1:
        return found  # its shape may count characters, as some clients of MLServer have it
    if sum(length != 1 for length in tensor.shape) > 1:
        raise CodecError(f"{where} takes a shape such as [n] or [n, 1], not {tensor.shape}.")
    count = 1
    for length in tensor.shape:
        count *= length
    if count != len(found):
        raise CodecError(
            f'Tensor "{tensor.name}": data has {len(found)} elements, '
            f"which do not fill the shape {tensor.shape}."
        )
    return found


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("characters that UTF-8 cannot hold (lone surrogates)") from None


def _each(name: str, convert: Callable[[Any], _T], values: Iterable[Any]) -> list[_T]:
    made: list[_T] = []
    try:
        for value in values:
            made.append(convert(value))
    except ValueError as error:
        raise CodecError(f'Tensor "{name}": element {len(made)}: {error}.') from None
    return made
