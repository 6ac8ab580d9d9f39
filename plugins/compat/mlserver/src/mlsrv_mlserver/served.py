"""Served: a model with MLServer's types as a model of mlsrv."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar

from mlserver.codecs.base import InputCodec, RequestCodec, registered
from mlserver.errors import MLServerError
from mlserver.model import MLModel
from mlserver.types import InferenceResponse as TheirResponse

import mlsrv
from mlsrv.codecs.registry import CodecRegistry
from mlsrv.errors import MLSrvError, ModelAnswered, ModelFailed, ModelLoadError
from mlsrv.handlers import Handlers
from mlsrv.types import InferenceRequest, InferenceResponse, MetadataModelResponse
from mlsrv_mlserver.calls import called
from mlsrv_mlserver.handlers import our_handlers, served_handler
from mlsrv_mlserver.messages import our_metadata, our_response, their_request
from mlsrv_mlserver.settings import their_model_settings
from mlsrv_mlserver.wrapped_codecs import our_input_codec, our_request_codec


class ServedModel(mlsrv.MLModel):
    """Serves a model with MLServer's types; see `served_class`.

    Attributes:
        theirs: the class of the model.
        model: the model.
    """

    enforces_metadata = False
    theirs: ClassVar[type[MLModel]]

    def __init__(self, settings: mlsrv.ModelSettings) -> None:
        super().__init__(settings)
        self.model = self.theirs(their_model_settings(settings))
        self._handlers: Handlers = {}

    def bind(self, codecs: CodecRegistry) -> None:
        package = self.theirs.__module__.partition(".")[0]
        for codec in _first_of_each(registered(InputCodec, package)):
            offer = mlsrv.CodecOffer(codec.ContentType, our_input_codec(codec), "input")
            codecs.add(offer, f"{codec.__qualname__} of model {self.name}")
        for codec in _first_of_each(registered(RequestCodec, package)):
            offer = mlsrv.CodecOffer(codec.ContentType, our_request_codec(codec), "request")
            codecs.add(offer, f"{codec.__qualname__} of model {self.name}")
        super().bind(codecs)
        self.model.codecs = codecs

    async def load(self) -> bool:
        """Load the model. None is no refusal, as a model may leave it at setting ``ready``."""
        try:
            answer = await called(self.model.load)
        except MLServerError as error:
            raise ModelLoadError(f"Model {self.name}: {error}") from error
        self.model.ready = answer is None or bool(answer)
        self._handlers = our_handlers(self.model)
        for name, method in self._handlers.items():
            setattr(self, f"handler_{name}", served_handler(getattr(self.model, name), method))
        return self.model.ready

    async def unload(self) -> bool:
        self.model.ready = False
        await called(self.model.unload)
        return True

    async def metadata(self) -> MetadataModelResponse:
        return our_metadata(await called(self.model.metadata))

    def custom_handlers(self) -> Handlers:
        return {f"handler_{name}": options for name, options in self._handlers.items()}


class _Predicting(ServedModel):
    own_output_choice = True  # as MLServer, which leaves it to the model

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        try:
            response = await called(self.model.predict, their_request(payload))
        except MLServerError as error:
            raise answered(error) from error
        return ours(self, "predict", response)


class _Streaming(ServedModel):
    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        requests = (their_request(payload) async for payload in payloads)
        try:
            async for response in self.model.predict_stream(requests):
                yield ours(self, "predict_stream", response)
        except MLServerError as error:
            raise answered(error) from error


class _PredictingAndStreaming(_Predicting, _Streaming):
    pass


def served_class(theirs: type[MLModel]) -> type[mlsrv.MLModel]:
    """Return the class of mlsrv that serves models of a class with MLServer's types."""
    bases = {
        (True, True): _PredictingAndStreaming,
        (True, False): _Predicting,
        (False, True): _Streaming,
        (False, False): _Predicting,
    }
    does = theirs.predict is not MLModel.predict, theirs.predict_stream is not MLModel.predict_stream
    return type(theirs.__name__, (bases[does],), {"theirs": theirs, "__module__": theirs.__module__})


def _first_of_each(codecs: Iterable[Any]) -> list[Any]:
    found: dict[str, Any] = {}
    for codec in codecs:
        found.setdefault(codec.ContentType, codec)
    return list(found.values())


def answered(error: MLServerError) -> MLSrvError:
    """Return the error of a model as one of mlsrv, with its status where that is one of errors."""
    status = error.status_code if 400 <= error.status_code <= 599 else 500
    return ModelAnswered(str(error), status)


def ours(model: ServedModel, method: str, response: Any) -> InferenceResponse:
    """Return the response of a model in mlsrv's types.

    Raises:
        ModelFailed: it is no response.
    """
    if isinstance(response, TheirResponse):
        return our_response(response)
    raise ModelFailed(
        f"Model {model.name}: {method} returned a {type(response).__name__}, not an InferenceResponse."
    )


__all__ = ["ServedModel", "answered", "ours", "served_class"]
