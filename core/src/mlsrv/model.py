"""Model: the base class of all inference runtimes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.codecs.content import decode_input, decode_request, encode_output, encode_response
from mlsrv.codecs.installed import installed_registry
from mlsrv.errors import Unsupported
from mlsrv.handlers import Handlers, handlers_of
from mlsrv.settings import ModelSettings
from mlsrv_hosting_kit.timeline import timed
from mlsrv_protocol.types import (
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
    """Base class of inference runtimes and custom models.

    Override `load` and `predict` (and, where it makes sense, `predict_stream` and `unload`). Each of them may
    be ``async def``, which runs on the event loop, or a plain ``def``, which runs in a thread and may block.

    Attributes:
        settings: the model's settings; ``settings.parameters.extra`` has the settings of the runtime.
        inputs, outputs: the declared tensors (`MetadataTensor`); `load` may set them.
        ready: True once it is loaded; a `load` that sets it to False has failed.
        own_input_checks: whether the class itself refuses inputs that do not fit, because it takes more forms
            of them than its metadata can express. The kernel then checks requests only against inputs that
            the settings declare, not against those that the metadata adds.
        own_output_choice: whether `predict` itself answers with the outputs that a request asks for, because
            it names some of them otherwise, and refuses those that it does not have. It counts for the class
            that defines `predict`, not for subclasses that override it.
        enforces_metadata: whether requests must fit the declared tensors. Where it is False, these only
            describe the model, unless its settings set ``check_inputs`` to true.
    """

    own_input_checks: ClassVar[bool] = False
    own_output_choice: ClassVar[bool] = False
    enforces_metadata: ClassVar[bool] = True

    ready: bool = False

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = self._settings = settings
        self.inputs: list[MetadataTensor] = list(settings.inputs)
        self.outputs: list[MetadataTensor] = list(settings.outputs)
        self._codecs: CodecRegistry | None = None

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.name

    @property
    def version(self) -> str | None:
        """The model's version, or None."""
        return self.settings.version

    @property
    def codecs(self) -> CodecRegistry:
        """The codecs that this model may use: those of the kernel's plugins and those of its own modules."""
        if self._codecs is None:
            self._codecs = installed_registry()
        return self._codecs

    def bind(self, codecs: CodecRegistry) -> None:
        """Give the model its codecs; the host does this before `load`."""
        self._codecs = codecs

    @classmethod
    def artifact_of(cls, settings: ModelSettings) -> Path | None:
        """Return the file or folder that `load` would read, without reading it; None where only `load` can
        tell. For ``mlsrv config check``.

        Raises:
            ModelLoadError: `load` would not find one.
        """
        return None

    async def load(self) -> bool:
        """Load the artifact. True (or None) means that the model is ready, a false value that it cannot be
        used.

        Raises:
            ModelLoadError, or anything: the model becomes UNAVAILABLE with the exception as its reason.
        """
        return True

    async def unload(self) -> bool:
        """Free what `load` took. Called once, after the last request has been answered."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        raise Unsupported(f"Model {self.name} answers streams only; use infer_stream.")

    def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        """Answer with any number of responses: override it with an async generator.

        A model without one answers a stream with one `predict` for each request.
        """
        raise Unsupported(f"Model {self.name} does not stream.")

    async def metadata(self) -> MetadataModelResponse:
        """Return the model's metadata; called once after `load`."""
        return MetadataModelResponse(
            name=self.name,
            platform=self.settings.platform or "",
            versions=list(self.settings.versions),
            inputs=self.inputs,
            outputs=self.outputs,
        )

    def custom_handlers(self) -> Handlers:
        """Return the custom handlers; called once after `load`.

        They are the methods that the class marks with `mlsrv.handlers.custom_handler`. Override it to let the
        settings decide which, and at which path.
        """
        return handlers_of(type(self))

    def decode(
        self, request_input: RequestInput, default_codec: type[InputCodec] | InputCodec | None = None
    ) -> Any:
        """Return the Python value of one input.

        The codec is, first match wins: the content type of the input, that of the model's metadata for it,
        `default_codec`; without any, the raw ``data``.

        Raises:
            CodecNotFound: an unknown content type (the message lists the known ones).
            CodecError: the codec refuses the data.
        """
        return timed("decode", decode_input, self, request_input, default_codec)

    def decode_request(
        self,
        inference_request: InferenceRequest,
        default_codec: type[RequestCodec] | RequestCodec | None = None,
    ) -> Any:
        """Return the Python value of a whole request.

        The codec is that of the content type of the request, else of ``parameters.content_type`` in the
        model's settings, else `default_codec`; without any, the value is the request itself. Raises as
        `decode`.
        """
        return timed("decode", decode_request, self, inference_request, default_codec)

    def encode(
        self,
        payload: Any,
        request_output: RequestOutput,
        default_codec: type[InputCodec] | InputCodec | None = None,
    ) -> ResponseOutput:
        """Return one output.

        It is encoded by the content type that the request asks for, else that of the model's metadata, else
        the type of `payload`, else `default_codec`. Raises as `decode`.
        """
        return timed("encode", encode_output, self, payload, request_output, default_codec)

    def encode_response(
        self, payload: Any, default_codec: type[RequestCodec] | RequestCodec | None = None
    ) -> InferenceResponse:
        """Return a whole response, encoded by the type of `payload`, else by `default_codec`.

        Raises as `decode`.
        """
        return timed("encode", encode_response, self, payload, default_codec)
