"""NumPy codecs: the content type ``np`` for a tensor and for a whole request (see `mlsrv_numpy.arrays`)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mlsrv.codecs.base import InputCodec
from mlsrv.codecs.single import SingleInputRequestCodec
from mlsrv_numpy.arrays import Array, from_tensor, to_tensor
from mlsrv_protocol.types import Parameters, RequestInput, ResponseOutput

_CONTENT_TYPE = "np"


class NumpyCodec(InputCodec):
    """Codec between one tensor and a numpy array (MLServer 1.5 manual, section 8.1.2).

    Decoding gives an array of the tensor's shape. Numeric datatypes have the dtype of the same width, BF16
    becomes float32, and BYTES becomes an object array whose elements are the `str` or `bytes` that were sent.
    The array shares the memory of the request where that is possible, so it may be read-only.

    Encoding takes an array or a numpy scalar of a boolean, integer, floating-point or text dtype, of any
    memory layout and byte order. An array of shape ``[N]`` is written as ``[N, 1]``, one without dimensions
    as ``[1]``. The data is a flat array that shares the payload's memory where that is possible; texts are a
    list of `str` or `bytes`. Masked elements of floating-point numbers become NaN.

    Raises:
        CodecError: the data does not fit the declared shape or datatype, or no datatype holds the payload,
        or an element is masked that is no floating-point number.
    """

    ContentType: ClassVar[str] = _CONTENT_TYPE
    TypeHint: ClassVar[Any] = np.ndarray

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, np.ndarray | np.generic)

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Array:
        return from_tensor(request_input)

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Array:
        return from_tensor(response_output)

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        shape, datatype, data = to_tensor(name, payload)
        return RequestInput(name, shape, datatype, data, Parameters(content_type=cls.ContentType))

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        shape, datatype, data = to_tensor(name, payload)
        return ResponseOutput(name, shape, datatype, data, Parameters(content_type=cls.ContentType))


class NumpyRequestCodec(SingleInputRequestCodec):
    """Codec of a whole request, or response, that is a single tensor (MLServer 1.5 manual, section 8.1.2).

    The tensor is called ``input-1`` in a request and ``output-1`` in a response. An input that has a content
    type of its own is handed on as that codec decoded it.

    Raises:
        CodecError: there is not exactly one tensor, or as `NumpyCodec`.
    """

    ContentType: ClassVar[str] = _CONTENT_TYPE
    TypeHint: ClassVar[Any] = np.ndarray
    InputCodec = NumpyCodec
