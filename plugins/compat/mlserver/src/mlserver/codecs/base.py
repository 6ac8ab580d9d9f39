"""Base: the base classes of codecs, and the registration of those that models bring."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlsrv.lazy import lazy_exports
from mlsrv_hosting_kit.import_lock import PRIVATE

__all__ = [
    "InputCodec",
    "InputCodecLike",
    "RequestCodec",
    "RequestCodecLike",
    "register_input_codec",
    "register_request_codec",
    "registered",
]

_T = TypeVar("_T", bound=type)


class InputCodec:
    """Converts one tensor to and from a Python type.

    Attributes:
        ContentType: the name that selects the codec.
        TypeHint: the annotation that selects it in `decode_args`.
    """

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Return whether `encode_output` takes this value."""
        return False

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """Return the output that carries a value."""
        raise NotImplementedError(f"{cls.__name__} has no encode_output")

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        """Return the value of an output."""
        raise NotImplementedError(f"{cls.__name__} has no decode_output")

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        """Return the input that carries a value."""
        raise NotImplementedError(f"{cls.__name__} has no encode_input")

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        """Return the value of an input."""
        raise NotImplementedError(f"{cls.__name__} has no decode_input")

    @classmethod
    def encode(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """Return what `encode_output` returns, under its old name."""
        return cls.encode_output(name, payload, **kwargs)

    @classmethod
    def decode(cls, request_input: RequestInput) -> Any:
        """Return what `decode_input` returns, under its old name."""
        return cls.decode_input(request_input)


class RequestCodec:
    """Converts a whole request or response to and from one Python value.

    Attributes:
        ContentType: the name that selects the codec.
        TypeHint: the annotation that selects it in `decode_args`.
    """

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Return whether `encode_response` takes this value."""
        return False

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """Return the response that carries a value."""
        raise NotImplementedError(f"{cls.__name__} has no encode_response")

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """Return the value of a response."""
        raise NotImplementedError(f"{cls.__name__} has no decode_response")

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """Return the request that carries a value."""
        raise NotImplementedError(f"{cls.__name__} has no encode_request")

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """Return the value of a request."""
        raise NotImplementedError(f"{cls.__name__} has no decode_request")

    @classmethod
    def encode(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """Return what `encode_response` returns, under its old name."""
        return cls.encode_response(model_name, payload, model_version, **kwargs)

    @classmethod
    def decode(cls, request: InferenceRequest) -> Any:
        """Return what `decode_request` returns, under its old name."""
        return cls.decode_request(request)


InputCodecLike = type[InputCodec] | InputCodec
RequestCodecLike = type[RequestCodec] | RequestCodec

# Classes of models come and go with their folders.
_registered: list[weakref.ref[Any]] = []


def register_input_codec(codec: _T) -> _T:
    """Let models use a codec of inputs for its content type (a class decorator). A codec of a model's folder
    is for that model alone."""
    _registered.append(weakref.ref(codec))
    return codec


def register_request_codec(codec: _T) -> _T:
    """Let models use a codec of requests, as `register_input_codec`."""
    _registered.append(weakref.ref(codec))
    return codec


def registered(kind: type, package: str | None = None) -> Iterator[Any]:
    """Yield the registered codecs of a kind, the last one first.

    Args:
        kind: `InputCodec` or `RequestCodec`.
        package: the top-level package of a model's code; private codecs of other folders are left out. None
            yields all.
    """
    for reference in reversed(_registered):
        codec = reference()
        if codec is None:
            continue
        top = str(codec.__module__).partition(".")[0]
        is_mine = package is None or top == package or not top.startswith(PRIVATE)
        if is_mine and isinstance(codec, type) and issubclass(codec, kind):
            yield codec


__getattr__ = lazy_exports(
    __name__,
    {
        "find_input_codec": "mlsrv_mlserver.finding",
        "find_input_codec_by_payload": "mlsrv_mlserver.finding",
        "find_request_codec": "mlsrv_mlserver.finding",
        "find_request_codec_by_payload": "mlsrv_mlserver.finding",
    },
)
