"""Base: the two base classes of codecs.

A codec is a class, never instantiated; its methods are class methods.
"""

from __future__ import annotations

from typing import Any, ClassVar

from mlsrv.errors import CodecError
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput


class InputCodec:
    """Converts one tensor to and from a Python type.

    Attributes:
        ContentType: the name that selects this codec in ``parameters.content_type``.
        TypeHint: the annotation that selects it in `decode_args`, for example ``numpy.ndarray``, or a tuple
            of several. It counts for the class that sets it, not for subclasses.
    """

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Return whether `encode_output` takes this payload."""
        return False

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        """Return the Python value of an input of a request. Raises `mlsrv.errors.CodecError`."""
        raise _lacks(cls, "decode_input")

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """Return the output of a response that carries `payload`. Raises `mlsrv.errors.CodecError`."""
        raise _lacks(cls, "encode_output")

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        """Return the Python value of an output of a response (clients)."""
        raise _lacks(cls, "decode_output")

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        """Return the input of a request that carries `payload` (clients)."""
        raise _lacks(cls, "encode_input")


class RequestCodec:
    """Converts a whole request or response to and from one Python value, for example a DataFrame.

    Attributes:
        ContentType: the name that selects this codec in the ``parameters.content_type`` of a request.
        TypeHint: the annotation that selects it in `decode_args`, as in `InputCodec`.
    """

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Return whether `encode_response` takes this payload."""
        return False

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """Return the Python value of a request. Raises `mlsrv.errors.CodecError`."""
        raise _lacks(cls, "decode_request")

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """Return the response that carries `payload`. Raises `mlsrv.errors.CodecError`."""
        raise _lacks(cls, "encode_response")

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """Return the Python value of a response (clients)."""
        raise _lacks(cls, "decode_response")

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """Return the request that carries `payload` (clients)."""
        raise _lacks(cls, "encode_request")


def _lacks(cls: type[InputCodec] | type[RequestCodec], method: str) -> CodecError:
    return CodecError(f'The codec {cls.__qualname__} ("{cls.ContentType}") has no {method}.')
