"""Codecs: the content types of Hugging Face models, under the names that MLServer gives them."""

from __future__ import annotations

import base64
import binascii
import io
import json
from typing import Any, ClassVar

import numpy as np

from mlsrv.codecs import InputCodec, NumpyCodec
from mlsrv.codecs.elements import ElementsCodec
from mlsrv.errors import CodecError
from mlsrv.types import Datatype, Parameters, RequestInput, ResponseOutput
from mlsrv_huggingface.plain import plain
from mlsrv_protocol.json import dumps

_SHORT = (np.dtype(np.float32), np.dtype(np.float64))
"""Types of arrays that are written as JSON without a Python object for each number."""


class JSONListCodec(ElementsCodec):
    """Codec ``hg_jsonlist`` between a BYTES tensor of JSON texts and a list of their values.

    Encoding takes any list; arrays, numpy's numbers and images become plain JSON.

    Raises:
        CodecError: an element is not JSON, or a value has no JSON form.
    """

    ContentType: ClassVar[str] = "hg_jsonlist"
    Element: ClassVar[type | tuple[type, ...]] = ()

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, list)

    @classmethod
    def decode_element(cls, element: str | bytes) -> Any:
        try:
            return json.loads(element)
        except (ValueError, RecursionError):
            raise ValueError("not JSON") from None

    @classmethod
    def encode_element(cls, value: Any) -> str:
        if isinstance(value, np.ndarray) and value.dtype in _SHORT and np.isfinite(value).all():
            return dumps(value).decode()  # each number with the digits that its type needs
        try:
            return json.dumps(plain(value), ensure_ascii=False)
        except TypeError as error:
            raise ValueError(str(error)) from None


class JSONCodec(JSONListCodec):
    """Codec ``hg_json`` between a BYTES tensor of one JSON text and its value. Raises as `JSONListCodec`."""

    ContentType: ClassVar[str] = "hg_json"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, dict | list)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        return _only(request_input.name, cls._decode(request_input), cls.ContentType)

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        return _only(response_output.name, cls._decode(response_output), cls.ContentType)

    @classmethod
    def encode_input(cls, name: str, payload: Any, *, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        return super().encode_input(name, [payload], use_bytes=use_bytes)

    @classmethod
    def encode_output(
        cls, name: str, payload: Any, *, use_bytes: bool = True, **kwargs: Any
    ) -> ResponseOutput:
        return super().encode_output(name, [payload], use_bytes=use_bytes)


class RawCodec(InputCodec):
    """Codec ``raw`` between a tensor of one element and a single text, number or truth value.

    Raises:
        CodecError: the tensor has more or fewer elements, or the value is none of these.
    """

    ContentType: ClassVar[str] = "raw"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, str | int | float)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        return _single(request_input)

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        return _single(response_output)

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        return RequestInput(name, *_single_tensor(name, payload), Parameters(cls.ContentType))

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        return ResponseOutput(name, *_single_tensor(name, payload), Parameters(cls.ContentType))


class NumpyListCodec(NumpyCodec):
    """Codec ``nplist`` between a tensor [n, …] and a list of n arrays, as pipelines of audio take them.

    Raises:
        CodecError: the arrays are of different shapes.
    """

    ContentType: ClassVar[str] = "nplist"
    TypeHint: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, list) and bool(payload) and isinstance(payload[0], np.ndarray)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        return list(super().decode_input(request_input))

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        return list(super().decode_output(response_output))

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        return _of_type(super().encode_input(name, _stacked(name, payload)), cls.ContentType)

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        return _of_type(super().encode_output(name, _stacked(name, payload)), cls.ContentType)


class ImageCodec(ElementsCodec):
    """Codec ``pillow_image`` between a BYTES tensor of image files in base64 and a list of PIL images.

    A prefix ``data:image/png;base64,`` is allowed; images are written as PNG. Needs Pillow.

    Raises:
        CodecError: an element is not base64, or no image; Pillow is not installed.
    """

    ContentType: ClassVar[str] = "pillow_image"
    Element: ClassVar[type | tuple[type, ...]] = ()

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, list) and bool(payload) and all(map(is_image, payload))

    @classmethod
    def decode_element(cls, element: str | bytes) -> Any:
        data = element.encode() if isinstance(element, str) else element
        if data.startswith(b"data:"):
            data = data.partition(b",")[2]
        try:
            return image_of(base64.b64decode(data, validate=True))
        except binascii.Error:
            raise ValueError("not base64") from None

    @classmethod
    def encode_element(cls, value: Any) -> str:
        made = plain(value)
        if not isinstance(made, str):
            raise ValueError(f"a {type(value).__name__}, not an image")
        return made


def is_image(value: Any) -> bool:
    """Return whether a value is an image of Pillow, without importing it."""
    return hasattr(value, "tobitmap")


def image_of(data: bytes) -> Any:
    """Return the PIL image in a file's bytes. Raises `ValueError` if there is none."""
    try:
        from PIL import Image
    except ImportError:
        raise ValueError("images need Pillow (pip install mlsrv-huggingface[images])") from None
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ValueError("not an image that Pillow can read") from None
    return image


def _only(name: str, values: list[Any], content_type: str) -> Any:
    if len(values) != 1:
        raise CodecError(
            f'Tensor "{name}": the content type "{content_type}" takes one element, not {len(values)}.'
        )
    return values[0]


def _single(tensor: RequestInput | ResponseOutput) -> Any:
    data: Any = tensor.data.reshape(-1).tolist() if isinstance(tensor.data, np.ndarray) else tensor.data
    value = _only(tensor.name, data if isinstance(data, list) else [data], RawCodec.ContentType)
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise CodecError(f'Tensor "{tensor.name}": not UTF-8.') from None


def _single_tensor(name: str, payload: Any) -> tuple[list[int], Datatype, Any]:
    if isinstance(payload, str):
        return [1], Datatype.BYTES, [payload]
    if isinstance(payload, bool | int | float):
        array = np.asarray([payload])
        return [1], Datatype.from_numpy(array.dtype), array
    raise CodecError(
        f'Tensor "{name}": the content type "raw" takes a text or a number, not a {type(payload).__name__}.'
    )


def _stacked(name: str, payload: Any) -> Any:
    try:
        return np.stack(payload)
    except (TypeError, ValueError) as error:
        raise CodecError(f'Tensor "{name}": the arrays cannot be one tensor: {error}.') from None


def _of_type(tensor: Any, content_type: str) -> Any:
    tensor.parameters = Parameters(content_type)
    return tensor
