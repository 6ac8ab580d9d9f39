"""Single: request codecs for requests and responses that are one tensor."""

from __future__ import annotations

from typing import Any, ClassVar

from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.codecs.content import DecodedInput
from mlsrv.errors import CodecError
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)


class SingleInputRequestCodec(RequestCodec):
    """Base of request codecs for a request, or response, that is one tensor of an `InputCodec`.

    The tensor is called ``input-1`` in a request and ``output-1`` in a response. An input that has a content
    type of its own is handed on as that codec decoded it.

    Attributes:
        InputCodec: the codec of the tensor.

    Raises:
        CodecError: there is not exactly one tensor, or as the `InputCodec`.
    """

    InputCodec: ClassVar[type[InputCodec]]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return cls.InputCodec.can_encode(payload)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        only = cls._only(request.inputs, "request", "inputs")
        return only.data if isinstance(only, DecodedInput) else cls.InputCodec.decode_input(only)

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        return cls.InputCodec.decode_output(cls._only(response.outputs, "response", "outputs"))

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        return InferenceRequest(
            inputs=[cls.InputCodec.encode_input("input-1", payload, **kwargs)],
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        return InferenceResponse(
            model_name=model_name,
            model_version=model_version,
            outputs=[cls.InputCodec.encode_output("output-1", payload, **kwargs)],
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def _only(cls, tensors: list[RequestInput] | list[ResponseOutput], what: str, kind: str) -> Any:
        if len(tensors) == 1:
            return tensors[0]
        names = ", ".join(f'"{tensor.name}"' for tensor in tensors[:8])
        raise CodecError(
            f'The content type "{cls.ContentType}" takes a {what} with exactly one tensor, '
            f"but its {kind} are {len(tensors)}{': ' if names else ''}{names}."
        )
