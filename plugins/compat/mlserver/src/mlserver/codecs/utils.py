"""Utils: helpers of codecs."""

from __future__ import annotations

from typing import Any, ClassVar

from mlserver.codecs.base import InputCodec, RequestCodec
from mlserver.codecs.errors import CodecError
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)
from mlsrv.lazy import lazy_exports

__all__ = [
    "DecodedParameterName",
    "DefaultInputPrefix",
    "DefaultOutputPrefix",
    "InputOrOutput",
    "SingleInputRequestCodec",
    "get_content_type",
    "get_decoded",
    "get_decoded_or_raw",
    "has_decoded",
    "inject_batch_dimension",
]

DecodedParameterName = "_decoded_payload"
DefaultInputPrefix, DefaultOutputPrefix = "input-", "output-"
InputOrOutput = RequestInput | ResponseOutput


def get_content_type(payload: Any, metadata: Any = None) -> str | None:
    """Return the content type of a tensor or message, else that of its metadata, or None."""
    for found in (payload, metadata):
        parameters = getattr(found, "parameters", None)
        if parameters is not None and parameters.content_type is not None:
            return str(parameters.content_type)
    return None


def has_decoded(parametrised_obj: Any) -> bool:
    """Return whether an input has been decoded."""
    return get_decoded(parametrised_obj) is not None


def get_decoded(parametrised_obj: Any) -> Any:
    """Return the value to which an input has been decoded, or None."""
    return getattr(getattr(parametrised_obj, "data", None), "decoded", None)


def get_decoded_or_raw(parametrised_obj: Any) -> Any:
    """Return the value to which an input has been decoded, else its data; a request as it is."""
    found = get_decoded(parametrised_obj)
    return getattr(parametrised_obj, "data", parametrised_obj) if found is None else found


def inject_batch_dimension(shape: list[int]) -> list[int]:
    """Return a shape of one dimension with a second one of length 1, any other as it is."""
    return shape if len(shape) > 1 else [*shape, 1]


class SingleInputRequestCodec(RequestCodec):
    """Base of request codecs for requests and responses of one tensor.

    Attributes:
        InputCodec: the codec of the tensor.
    """

    InputCodec: ClassVar[type[InputCodec]]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return cls.InputCodec.can_encode(payload)

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        return InferenceResponse(
            model_name=model_name,
            model_version=model_version,
            parameters=Parameters(content_type=cls.ContentType),
            outputs=[cls.InputCodec.encode_output("output-1", payload, **kwargs)],
        )

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        return cls.InputCodec.decode_output(_only(response.outputs, "outputs"))

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        return InferenceRequest(
            parameters=Parameters(content_type=cls.ContentType),
            inputs=[cls.InputCodec.encode_input("input-1", payload, **kwargs)],
        )

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        only = _only(request.inputs, "inputs")
        return get_decoded(only) if has_decoded(only) else cls.InputCodec.decode_input(only)


def _only(tensors: list[Any], what: str) -> Any:
    if len(tensors) != 1:
        raise CodecError(f"This content type takes exactly one tensor, but there are {len(tensors)} {what}.")
    return tensors[0]


FUNCTIONS = {
    "decode_inference_request": "mlsrv_mlserver.content",
    "decode_request_input": "mlsrv_mlserver.content",
    "encode_inference_response": "mlsrv_mlserver.content",
    "encode_response_output": "mlsrv_mlserver.content",
    "find_input_codec": "mlsrv_mlserver.finding",
    "find_request_codec": "mlsrv_mlserver.finding",
}
"""Functions that `mlserver.codecs` has, too, with the modules that are imported when they are asked for."""

__getattr__ = lazy_exports(
    __name__,
    FUNCTIONS
    | {
        "find_input_codec_by_payload": "mlsrv_mlserver.finding",
        "find_request_codec_by_payload": "mlsrv_mlserver.finding",
    },
)
