"""Wrapped codecs: those of mlsrv with MLServer's types, and those of models with mlsrv's."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlserver import types
from mlserver.codecs.base import InputCodec, RequestCodec
from mlserver.codecs.errors import CodecError

import mlsrv.codecs as ours
from mlsrv.codecs.content import DecodedInput
from mlsrv.codecs.installed import installed_registry
from mlsrv.codecs.registry import CodecRegistry
from mlsrv.errors import MLSrvError
from mlsrv_mlserver import messages

# --- of mlsrv, for models -----------------------------------------------------------------------------------


@contextmanager
def told() -> Iterator[None]:
    """Raise the errors of mlsrv's codecs as `CodecError`, which models may catch."""
    try:
        yield
    except MLSrvError as error:
        raise CodecError(str(error)) from error


def our_decodable(tensor: types.RequestInput) -> Any:
    """Return an input as mlsrv's request codecs read it: decoded, if it has been."""
    with told():
        made = messages.our_input(tensor)
        if tensor.data.decoded is None:
            return made
        return DecodedInput(made.name, made.shape, made.datatype, tensor.data.decoded, made.parameters)


@functools.cache
def wrapped_input_codec(codec: Any) -> type[InputCodec]:
    """Return a codec of mlsrv as one with MLServer's types."""

    class Wrapped(InputCodec):
        __doc__ = codec.__doc__
        ContentType = codec.ContentType
        TypeHint = codec.TypeHint

        @classmethod
        def can_encode(cls, payload: Any) -> bool:
            return bool(codec.can_encode(payload))

        @classmethod
        def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> types.ResponseOutput:
            with told():
                return messages.their_output(codec.encode_output(name, payload, **kwargs))

        @classmethod
        def decode_output(cls, response_output: types.ResponseOutput) -> Any:
            with told():
                return codec.decode_output(messages.our_output(response_output))

        @classmethod
        def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> types.RequestInput:
            with told():
                return messages.their_input(codec.encode_input(name, payload, **kwargs))

        @classmethod
        def decode_input(cls, request_input: types.RequestInput) -> Any:
            with told():
                return codec.decode_input(messages.our_input(request_input))

    return _named(Wrapped, codec)


@functools.cache
def wrapped_request_codec(codec: Any) -> type[RequestCodec]:
    """Return a codec of mlsrv for requests as one with MLServer's types."""

    class Wrapped(RequestCodec):
        __doc__ = codec.__doc__
        ContentType = codec.ContentType
        TypeHint = codec.TypeHint

        @classmethod
        def can_encode(cls, payload: Any) -> bool:
            return bool(codec.can_encode(payload))

        @classmethod
        def encode_response(
            cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
        ) -> types.InferenceResponse:
            with told():
                return messages.their_response(
                    codec.encode_response(model_name, payload, model_version, **kwargs)
                )

        @classmethod
        def decode_response(cls, response: types.InferenceResponse) -> Any:
            with told():
                return codec.decode_response(messages.our_response(response))

        @classmethod
        def encode_request(cls, payload: Any, **kwargs: Any) -> types.InferenceRequest:
            with told():
                return messages.their_request(codec.encode_request(payload, **kwargs))

        @classmethod
        def decode_request(cls, request: types.InferenceRequest) -> Any:
            with told():
                made = messages.our_request(request)
                made.inputs = [our_decodable(tensor) for tensor in request.inputs]
                return codec.decode_request(made)

        @classmethod
        def encode_outputs(cls, payload: Any, **kwargs: Any) -> list[types.ResponseOutput]:
            """Return the outputs of the response that carries a value."""
            return cls.encode_response("", payload, **kwargs).outputs

        @classmethod
        def encode_inputs(cls, payload: Any, **kwargs: Any) -> list[types.RequestInput]:
            """Return the inputs of the request that carries a value."""
            return cls.encode_request(payload, **kwargs).inputs

    if hasattr(codec, "InputCodec"):
        Wrapped.InputCodec = wrapped_input_codec(codec.InputCodec)  # type: ignore[attr-defined]  # as its base
    return _named(Wrapped, codec)


def _named(made: Any, codec: Any) -> Any:
    made.__name__ = made.__qualname__ = getattr(codec, "__name__", type(codec).__name__)
    return made


def codec_named(name: str) -> Any:
    """Return mlsrv's codec class of this name with MLServer's types.

    Raises:
        AttributeError: there is none.
        ImportError: its plugin is not installed.
    """
    codec = getattr(ours, name)
    is_input = issubclass(codec, ours.InputCodec)
    return wrapped_input_codec(codec) if is_input else wrapped_request_codec(codec)


@functools.cache
def _installed() -> CodecRegistry:
    return installed_registry()


def installed_input_codec(content_type: str, codecs: CodecRegistry | None = None) -> Any:
    """Return the codec of inputs that a plugin has for a content type, or None."""
    found = (codecs or _installed()).input_codec(content_type)
    return None if found is None else _input(found)


def installed_request_codec(content_type: str, codecs: CodecRegistry | None = None) -> Any:
    """Return the codec of requests that a plugin has for a content type, or None."""
    found = (codecs or _installed()).request_codec(content_type)
    return None if found is None else _request(found)


def installed_input_codecs() -> Iterator[Any]:
    """Yield the codecs of inputs of all plugins."""
    for name in _installed().content_types("input"):
        yield installed_input_codec(name)


def installed_request_codecs() -> Iterator[Any]:
    """Yield the codecs of requests of all plugins."""
    for name in _installed().content_types("request"):
        yield installed_request_codec(name)


def _input(codec: Any) -> Any:
    return codec.theirs if hasattr(codec, "theirs") else wrapped_input_codec(codec)


def _request(codec: Any) -> Any:
    return codec.theirs if hasattr(codec, "theirs") else wrapped_request_codec(codec)


# --- of models, for mlsrv -----------------------------------------------------------------------------------


def our_input_codec(codec: Any) -> type[ours.InputCodec]:
    """Return a codec with MLServer's types as one of mlsrv."""

    class Wrapped(ours.InputCodec):
        __doc__ = codec.__doc__
        ContentType = codec.ContentType
        TypeHint = codec.TypeHint
        theirs = codec

        @classmethod
        def can_encode(cls, payload: Any) -> bool:
            return bool(codec.can_encode(payload))

        @classmethod
        def decode_input(cls, request_input: Any) -> Any:
            return codec.decode_input(messages.their_input(request_input))

        @classmethod
        def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> Any:
            return messages.our_output(codec.encode_output(name, payload, **kwargs))

    made: type[ours.InputCodec] = _named(Wrapped, codec)
    return made


def our_request_codec(codec: Any) -> type[ours.RequestCodec]:
    """Return a codec of requests with MLServer's types as one of mlsrv."""

    class Wrapped(ours.RequestCodec):
        __doc__ = codec.__doc__
        ContentType = codec.ContentType
        TypeHint = codec.TypeHint
        theirs = codec

        @classmethod
        def can_encode(cls, payload: Any) -> bool:
            return bool(codec.can_encode(payload))

        @classmethod
        def decode_request(cls, request: Any) -> Any:
            return codec.decode_request(messages.their_request(request))

        @classmethod
        def encode_response(
            cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
        ) -> Any:
            return messages.our_response(codec.encode_response(model_name, payload, model_version, **kwargs))

    made: type[ours.RequestCodec] = _named(Wrapped, codec)
    return made
