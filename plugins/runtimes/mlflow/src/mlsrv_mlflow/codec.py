"""Tensor dict codec: the content type ``dict``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mlsrv.codecs import DecodedInput, NumpyCodec, RequestCodec
from mlsrv.errors import CodecError
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput


class TensorDictCodec(RequestCodec):
    """Codec between a whole request, or response, and a dict of tensors by name (MLServer 1.5 manual, section
    9.1.3).

    Values are numpy arrays of the tensor's shape; an input that has a content type of its own is what that
    codec makes of it.

    Raises:
        CodecError: two tensors have one name, or as `NumpyCodec`.
    """

    ContentType: ClassVar[str] = "dict"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Return whether the payload is a dict from texts to arrays."""
        return isinstance(payload, dict) and all(
            isinstance(name, str) and isinstance(value, np.ndarray) for name, value in payload.items()
        )

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> dict[str, Any]:
        _check_names(request.inputs)
        return {
            tensor.name: tensor.data if isinstance(tensor, DecodedInput) else NumpyCodec.decode_input(tensor)
            for tensor in request.inputs
        }

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> dict[str, Any]:
        _check_names(response.outputs)
        return {output.name: NumpyCodec.decode_output(output) for output in response.outputs}

    @classmethod
    def encode_request(cls, payload: dict[str, Any], **kwargs: Any) -> InferenceRequest:
        return InferenceRequest(
            inputs=[NumpyCodec.encode_input(name, value) for name, value in payload.items()],
            parameters=Parameters(content_type=cls.ContentType),
        )

    @classmethod
    def encode_response(
        cls, model_name: str, payload: dict[str, Any], model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        return InferenceResponse(
            model_name=model_name,
            model_version=model_version,
            outputs=[NumpyCodec.encode_output(name, value) for name, value in payload.items()],
            parameters=Parameters(content_type=cls.ContentType),
        )


def _check_names(tensors: list[RequestInput] | list[ResponseOutput]) -> None:
    names = [tensor.name for tensor in tensors]
    for name in names:
        if names.count(name) > 1:
            raise CodecError(f'Two tensors are called "{name}"; names must be unique.')
