"""Model: the base class of models that were written for MLServer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar

from mlserver.codecs.base import InputCodecLike, RequestCodecLike
from mlserver.errors import MLServerError
from mlserver.settings import ModelSettings
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

if TYPE_CHECKING:
    from mlsrv.codecs.registry import CodecRegistry

__all__ = ["MLModel"]


class MLModel:
    """Base class of models with MLServer's types.

    Attributes:
        ready: True once the model is loaded.
        codecs: the codecs that the model may use, of mlsrv; its host sets them.
    """

    __mlsrv_class__: ClassVar[str] = "mlsrv_mlserver.served:served_class"

    codecs: CodecRegistry

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._inputs = list(settings.inputs)
        self._outputs = list(settings.outputs)
        self.ready = False

    @property
    def name(self) -> str:
        """The model's name."""
        return self._settings.name

    @property
    def version(self) -> str | None:
        """The model's version, or None."""
        return self._settings.version

    @property
    def settings(self) -> ModelSettings:
        """The model's settings."""
        return self._settings

    @property
    def inputs(self) -> list[MetadataTensor]:
        """The declared inputs; `load` may set them."""
        return self._inputs

    @inputs.setter
    def inputs(self, value: list[MetadataTensor]) -> None:
        self._inputs = value

    @property
    def outputs(self) -> list[MetadataTensor]:
        """The declared outputs; `load` may set them."""
        return self._outputs

    @outputs.setter
    def outputs(self, value: list[MetadataTensor]) -> None:
        self._outputs = value

    async def load(self) -> bool:
        """Load the artifact, and return True."""
        return True

    async def unload(self) -> bool:
        """Free what `load` took, and return True."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        raise MLServerError(f"Model {self.name} has no predict().", 501)

    def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        """Answer with any number of responses: override it with an async generator."""
        raise MLServerError(f"Model {self.name} has no predict_stream().", 501)

    async def metadata(self) -> MetadataModelResponse:
        """Return the model's metadata."""
        return MetadataModelResponse(
            name=self.name,
            platform=self._settings.platform,
            versions=self._settings.versions,
            inputs=self.inputs,
            outputs=self.outputs,
        )

    def decode(self, request_input: RequestInput, default_codec: InputCodecLike | None = None) -> Any:
        """Return the Python value of one input: by its content type, by that of the metadata, else by the
        default codec; without any, its data."""
        from mlsrv_mlserver.content import decode_input

        return decode_input(self, request_input, default_codec)

    def decode_request(
        self, inference_request: InferenceRequest, default_codec: RequestCodecLike | None = None
    ) -> Any:
        """Return the Python value of a request: by its content type, by that of the settings, else by the
        default codec; without any, the request."""
        from mlsrv_mlserver.content import decode_request

        return decode_request(self, inference_request, default_codec)

    def encode(
        self, payload: Any, request_output: RequestOutput, default_codec: InputCodecLike | None = None
    ) -> ResponseOutput:
        """Return one output: by the content type that the request or the metadata names, by the type of the
        value, else by the default codec."""
        from mlsrv_mlserver.content import encode_output

        return encode_output(self, payload, request_output, default_codec)

    def encode_response(
        self, payload: Any, default_codec: RequestCodecLike | None = None
    ) -> InferenceResponse:
        """Return a response: by the type of the value, else by the default codec."""
        from mlsrv_mlserver.content import encode_response

        return encode_response(self, payload, default_codec)
