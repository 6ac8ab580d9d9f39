"""Content types: which codec applies to a model's requests and responses, by MLServer's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mlserver.codecs.errors import CodecError
from mlserver.codecs.utils import get_content_type, get_decoded, has_decoded
from mlserver.settings import ModelSettings
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

from mlsrv.types import InferenceRequest as OurRequest
from mlsrv.types import Parameters
from mlsrv_mlserver.finding import (
    find_input_codec,
    find_input_codec_by_payload,
    find_request_codec,
    find_request_codec_by_payload,
)
from mlsrv_mlserver.messages import our_request
from mlsrv_mlserver.wrapped_codecs import installed_input_codec, installed_request_codec


class Model(Protocol):
    """The members of `mlserver.MLModel` that decide which codec applies."""

    @property
    def name(self) -> str:
        """The name of the model."""

    @property
    def version(self) -> str | None:
        """The version of the model, or None."""

    @property
    def settings(self) -> ModelSettings:
        """The settings of the model."""

    @property
    def inputs(self) -> list[MetadataTensor]:
        """The declared inputs."""

    @property
    def outputs(self) -> list[MetadataTensor]:
        """The declared outputs."""


def decode_input(model: Model, request_input: RequestInput, default_codec: Any) -> Any:
    """Return the value of one input; see `mlserver.MLModel.decode`.

    An unknown content type counts as none.

    Raises:
        CodecError: the input does not fit its codec.
    """
    if has_decoded(request_input):
        return get_decoded(request_input)
    codec = _input_codec(model, request_input) or default_codec
    return request_input.data if codec is None else _decoded(codec, request_input)


def decode_request(model: Model, request: InferenceRequest, default_codec: Any) -> Any:
    """Return the value of a request; see `mlserver.MLModel.decode_request`. Raises as `decode_input`."""
    for request_input in request.inputs:
        if has_decoded(request_input):
            continue
        codec = _input_codec(model, request_input)
        if codec is not None:
            request_input.data.decoded = _decoded(codec, request_input)
    content_type = get_content_type(request, model.settings)
    found = None if content_type is None else _request_codec(model, content_type)
    codec = found or default_codec
    return request if codec is None else codec.decode_request(request)


def tolerated_request(model: Model, request: InferenceRequest) -> OurRequest:
    """Return a request as mlsrv has it, without content types that no codec has.

    Raises:
        InvalidPayload: its data does not fit its shape or datatype.
    """
    made = our_request(request)
    _forget_unknown(made.parameters, lambda name: _request_codec(model, name))
    for tensor in made.inputs:
        _forget_unknown(tensor.parameters, lambda name: _find_input_codec(model, name))
    return made


def encode_output(
    model: Model, payload: Any, request_output: RequestOutput, default_codec: Any
) -> ResponseOutput:
    """Return one output; see `mlserver.MLModel.encode`.

    Raises:
        CodecError: no codec applies, or the value does not fit it.
    """
    declared = {tensor.name: tensor for tensor in model.outputs}
    content_type = get_content_type(request_output, declared.get(request_output.name))
    codec = None if content_type is None else _find_input_codec(model, content_type)
    codec = codec or find_input_codec_by_payload(payload) or default_codec
    if codec is None:
        kind = type(payload).__name__
        raise CodecError(f'No codec encodes a {kind}, for the output "{request_output.name}".')
    made: ResponseOutput = codec.encode_output(request_output.name, payload)
    return made


def encode_response(model: Model, payload: Any, default_codec: Any) -> InferenceResponse:
    """Return a response; see `mlserver.MLModel.encode_response`. Raises as `encode_output`."""
    codec = find_request_codec_by_payload(payload) or default_codec
    if codec is None:
        raise CodecError(f"No codec encodes a response from a {type(payload).__name__}.")
    made: InferenceResponse = codec.encode_response(model.name, payload, model.version)
    return made


def _forget_unknown(parameters: Parameters | None, find: Callable[[str], Any]) -> None:
    if parameters is not None and parameters.content_type is not None and not find(parameters.content_type):
        parameters.content_type = None


def _input_codec(model: Model, request_input: RequestInput) -> Any:
    declared = next((tensor for tensor in model.inputs if tensor.name == request_input.name), None)
    content_type = get_content_type(request_input, declared)
    return None if content_type is None else _find_input_codec(model, content_type)


def _find_input_codec(model: Model, content_type: str) -> Any:
    codecs = getattr(model, "codecs", None)
    found = None if codecs is None else installed_input_codec(content_type, codecs)
    return found or find_input_codec(content_type)


def _request_codec(model: Model, content_type: str) -> Any:
    codecs = getattr(model, "codecs", None)
    found = None if codecs is None else installed_request_codec(content_type, codecs)
    return found or find_request_codec(content_type)


def _decoded(codec: Any, request_input: RequestInput) -> Any:
    try:
        return codec.decode_input(request_input)
    except ValueError as error:  # a malformed text, which is the client's fault
        raise CodecError(f'input "{request_input.name}": {error}') from error


def decode_request_input(request_input: RequestInput, metadata_inputs: Any = ()) -> Any:
    """Return the value of an input that has a content type, of its own or in the metadata; else None."""
    declared = dict(metadata_inputs or {}).get(request_input.name)
    content_type = get_content_type(request_input, declared)
    codec = None if content_type is None else find_input_codec(content_type)
    if codec is None:
        return None
    request_input.data.decoded = _decoded(codec, request_input)
    return request_input.data.decoded


def decode_inference_request(
    inference_request: InferenceRequest, model_settings: Any = None, metadata_inputs: Any = ()
) -> Any:
    """Return the value of a request by its content type, or the one of its model's settings; else None."""
    for request_input in inference_request.inputs:
        decode_request_input(request_input, metadata_inputs)
    content_type = get_content_type(inference_request, model_settings)
    codec = None if content_type is None else find_request_codec(content_type)
    return None if codec is None else codec.decode_request(inference_request)


def encode_response_output(
    payload: Any, request_output: RequestOutput, metadata_outputs: Any = ()
) -> ResponseOutput | None:
    """Return an output by its content type, or that of the metadata, or the type of the value; else None."""
    declared = dict(metadata_outputs or {}).get(request_output.name)
    content_type = get_content_type(request_output, declared)
    codec = find_input_codec(content_type) if content_type else find_input_codec_by_payload(payload)
    return None if codec is None else codec.encode_output(request_output.name, payload)


def encode_inference_response(payload: Any, model_settings: Any) -> InferenceResponse | None:
    """Return a response by the type of the value; else None."""
    codec = find_request_codec_by_payload(payload)
    if codec is None:
        return None
    made: InferenceResponse = codec.encode_response(model_settings.name, payload, model_settings.version)
    return made
