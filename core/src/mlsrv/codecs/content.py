"""Content types: the precedence rules that decide which codec applies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.errors import CodecError, CodecNotFound
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

if TYPE_CHECKING:
    from mlsrv.codecs.model_view import ModelView
    from mlsrv.codecs.registry import AnyInputCodec, AnyRequestCodec


class DecodedInput(RequestInput):
    """An input whose own content type was applied: `data` is the Python value, not the data of the wire.

    Request codecs that treat each input by itself (a DataFrame's columns) take such values as they are.
    """


def _content_type(parameters: Parameters | None) -> str | None:
    return parameters.content_type if parameters is not None else None


def _declared(tensors: list[MetadataTensor], name: str) -> str | None:
    for tensor in tensors:
        if tensor.name == name:
            return _content_type(tensor.parameters)
    return None


def _input_codec(model: ModelView, content_type: str | None, where: str) -> AnyInputCodec | None:
    if content_type is None:
        return None
    codec = model.codecs.input_codec(content_type)
    if codec is None:
        raise CodecNotFound.for_content_type(content_type, model.codecs.content_types("input"), where)
    return codec


def apply_codec(codec: AnyInputCodec, request_input: RequestInput) -> Any:
    """Return the value of an input, decoded by a codec; a `DecodedInput` is decoded already.

    Raises `CodecError`.
    """
    if isinstance(request_input, DecodedInput):
        return request_input.data
    try:
        return codec.decode_input(request_input)
    except ValueError as error:
        # Raised by int(), bytes.fromhex() and others for a malformed text: the client's fault.
        raise CodecError(
            f'input "{request_input.name}": not valid for the content type "{codec.ContentType}": {error}'
        ) from error


def input_content_type(model: ModelView, request_input: RequestInput) -> str | None:
    """Return the content type of an input: its own, else that of the model's metadata."""
    return _content_type(request_input.parameters) or _declared(model.inputs, request_input.name)


def check_content_types(model: ModelView, request: InferenceRequest) -> None:
    """Raise `CodecNotFound` for an unknown content type of the request or of an input."""
    _request_codec(model, _content_type(request.parameters))
    for request_input in request.inputs:
        _input_codec(model, _content_type(request_input.parameters), f'input "{request_input.name}"')


def decode_input(model: ModelView, request_input: RequestInput, default_codec: AnyInputCodec | None) -> Any:
    """Return the value of one input.

    The codec is that of its content type, else the default; without either the value is the input's data.

    Raises:
        CodecNotFound: its content type is unknown.
        CodecError: it does not fit the codec.
    """
    if isinstance(request_input, DecodedInput):
        return request_input.data
    content_type = input_content_type(model, request_input)
    codec = _input_codec(model, content_type, f'input "{request_input.name}"') or default_codec
    return request_input.data if codec is None else apply_codec(codec, request_input)


def decode_request(model: ModelView, request: InferenceRequest, default_codec: AnyRequestCodec | None) -> Any:
    """Return the value of a request.

    The codec is that of its content type, else of the model's, else the default; without any, the value is
    the request with its inputs decoded. Raises as `decode_input`.
    """
    content_type = _content_type(request.parameters) or model.settings.parameters.content_type
    codec = _request_codec(model, content_type) or default_codec
    request = decode_inputs(model, request)
    return request if codec is None else codec.decode_request(request)


def decode_inputs(model: ModelView, request: InferenceRequest) -> InferenceRequest:
    """Return the request with a `DecodedInput` for each input that has a content type.

    It is the same object if none has.
    """
    inputs = [_decoded(model, request_input) for request_input in request.inputs]
    if all(new is old for new, old in zip(inputs, request.inputs, strict=True)):
        return request
    return attrs.evolve(request, inputs=inputs)


def _request_codec(model: ModelView, content_type: str | None) -> AnyRequestCodec | None:
    if content_type is None:
        return None
    codec = model.codecs.request_codec(content_type)
    if codec is None:
        raise CodecNotFound.for_content_type(
            content_type, model.codecs.content_types("request"), "request", "request"
        )
    return codec


def _decoded(model: ModelView, request_input: RequestInput) -> RequestInput:
    if isinstance(request_input, DecodedInput):
        return request_input
    content_type = input_content_type(model, request_input)
    codec = _input_codec(model, content_type, f'input "{request_input.name}"')
    if codec is None:
        return request_input
    return DecodedInput(
        name=request_input.name,
        shape=request_input.shape,
        datatype=request_input.datatype,
        data=apply_codec(codec, request_input),
        parameters=request_input.parameters,
    )


def encode_named(model: ModelView, payload: Any, request_output: RequestOutput) -> ResponseOutput | None:
    """Return one output, encoded by the content type that the request, else the model's metadata, names.

    None if neither names one. Raises as `encode_output`.
    """
    asked = _content_type(request_output.parameters)
    if asked is not None:
        return encode_as_asked(model, payload, request_output, asked)
    codec = declared_codec(model, request_output.name)
    return None if codec is None else codec.encode_output(request_output.name, payload)


def encode_as_asked(
    model: ModelView, payload: Any, request_output: RequestOutput, content_type: str
) -> ResponseOutput:
    """Return one output, encoded by the content type that the request names.

    Raises:
        CodecNotFound: it is unknown.
        CodecError: it cannot hold the payload.
    """
    where = f'output "{request_output.name}"'
    codec = model.codecs.input_codec(content_type)
    if codec is None:
        raise CodecNotFound.for_content_type(content_type, model.codecs.content_types("input"), where)
    return codec.encode_output(request_output.name, payload)


def declared_codec(model: ModelView, name: str) -> AnyInputCodec | None:
    """Return the codec that the model's metadata names for an output. Raises `CodecNotFound`."""
    return _input_codec(model, _declared(model.outputs, name), f'output "{name}"')


def encode_output(
    model: ModelView, payload: Any, request_output: RequestOutput, default_codec: AnyInputCodec | None
) -> ResponseOutput:
    """Return one output, encoded as `encode_named`, else by a codec for the type of the payload, else by the
    default.

    Raises:
        CodecNotFound: no codec applies.
        CodecError: the codec cannot encode the payload.
    """
    made = encode_named(model, payload, request_output)
    if made is not None:
        return made
    codec = model.codecs.input_codec_for(payload) or default_codec
    if codec is None:
        raise CodecNotFound.for_payload(payload, f'Model {model.name}, output "{request_output.name}"')
    return codec.encode_output(request_output.name, payload)


def encode_response(
    model: ModelView, payload: Any, default_codec: AnyRequestCodec | None
) -> InferenceResponse:
    """Return a whole response, encoded by a codec for the type of the payload, else by the default.

    Raises as `encode_output`.
    """
    codec = model.codecs.request_codec_for(payload) or default_codec
    if codec is None:
        raise CodecNotFound.for_payload(payload, f"Model {model.name}, response", "request")
    return codec.encode_response(model.name, payload, model.version)


__all__ = ["DecodedInput", "InputCodec", "RequestCodec"]
