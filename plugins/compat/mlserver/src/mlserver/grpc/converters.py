"""Converters: messages of gRPC to MLServer's types and back, for clients."""

from __future__ import annotations

from typing import Any

from mlserver import types
from mlsrv_mlserver.messages import our_request, our_response, their_request, their_response
from mlsrv_protocol.grpc import (
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    message_class,
)

__all__ = ["ModelInferRequestConverter", "ModelInferResponseConverter"]


class ModelInferRequestConverter:
    """Converts requests."""

    @classmethod
    def from_types(
        cls,
        type_object: types.InferenceRequest,
        model_name: str,
        model_version: str | None = None,
        use_raw: bool = False,
    ) -> Any:
        """Return a request as a message of gRPC; `use_raw` sends tensors as raw contents.

        Raises:
            mlsrv.errors.InvalidPayload: its data does not fit its shapes and datatypes.
        """
        request = our_request(type_object)
        request.model_name, request.model_version = model_name, model_version
        return message_class("inference.ModelInferRequest").FromString(
            encode_request(request, typed=not use_raw)
        )

    @classmethod
    def to_types(cls, pb_object: Any) -> types.InferenceRequest:
        """Return a message of gRPC as a request."""
        request, _ = decode_request(pb_object.SerializeToString())
        return their_request(request)


class ModelInferResponseConverter:
    """Converts responses."""

    @classmethod
    def from_types(cls, type_object: types.InferenceResponse, use_raw: bool = False) -> Any:
        """Return a response as a message of gRPC; `use_raw` sends tensors as raw contents.

        Raises:
            mlsrv.errors.InvalidOutput: its data does not fit its shapes and datatypes.
        """
        body = encode_response(our_response(type_object), typed=not use_raw)
        return message_class("inference.ModelInferResponse").FromString(body)

    @classmethod
    def to_types(cls, pb_object: Any) -> types.InferenceResponse:
        """Return a message of gRPC as a response."""
        return their_response(decode_response(pb_object.SerializeToString()))
