"""Placement: a model that an executor has loaded somewhere, and its metadata."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any

from attrs import field, frozen

from mlsrv.context import CallContext
from mlsrv.errors import Unsupported
from mlsrv.handlers import Arguments, HandlerOptions
from mlsrv_protocol.encoded import EncodedRequest, EncodedResponse
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, MetadataTensor, Parameters
from mlsrv_telemetry_kit.metrics import Metric

__all__ = ["ModelInfo", "Placement"]


@frozen
class ModelInfo:
    """Description of a loaded model; plain data, so that it crosses process boundaries.

    Attributes:
        platform, versions, inputs, outputs, parameters: the model's metadata, as it is after
            `MLModel.load`.
        check_inputs: whether requests must have exactly these inputs.
        check_outputs: whether requests may ask for these outputs only.
        streams: whether it has a `predict_stream` of its own.
        predicts: whether it has a `predict` of its own.
        asynchronous: whether that `predict` is a coroutine function, so that many calls may run at once.
        replicas: how many copies of the model serve side by side; set by the executor.
        metrics: those that its code registered while it was loaded.
        handlers: custom handlers, as attribute name -> its route.
    """

    platform: str = ""
    versions: tuple[str, ...] = ()
    inputs: tuple[MetadataTensor, ...] = ()
    outputs: tuple[MetadataTensor, ...] = ()
    parameters: Parameters | None = None
    check_inputs: bool = True
    check_outputs: bool = True
    streams: bool = False
    predicts: bool = True
    asynchronous: bool = False
    replicas: int = 1
    metrics: tuple[Metric, ...] = ()
    handlers: Mapping[str, HandlerOptions] = field(factory=dict)


class Placement(ABC):
    """A loaded model, wherever it runs. `mlsrv.hosting.model_host.ModelHost` is the one in this process."""

    info: ModelInfo

    @abstractmethod
    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        """Answer one request. Raises an `MLSrvError` for any exception of the model."""

    @property
    def takes_encoded(self) -> bool:
        """True if `infer_encoded` saves work, because the model is in another process."""
        return False

    async def infer_encoded(self, request: EncodedRequest, context: CallContext) -> EncodedResponse | None:
        """Answer a request that is decoded, compared with the declared tensors, and answered in JSON where
        the model is. Called only where `takes_encoded` is true.

        Returns:
            None if it is not valid: the caller decodes it for the error. Raises as `infer`.
        """
        raise Unsupported(f"Model {context.model} takes no encoded requests.")

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        """Answer with many responses; unless overridden, with that of `infer` to each request. Closing the
        iterator stops the model's generator."""
        async for request in requests:
            yield await self.infer(request, context)

    async def call(self, method: str, arguments: Arguments, context: CallContext) -> Any:
        """Call a custom handler of the model by its attribute name. Unless overridden there is none.

        Arguments and answer are as in `mlsrv.kernel_api.KernelAPI.call`.
        """
        raise Unsupported(f"Model {context.model} has no handler {method}.")

    async def unload(self) -> None:
        """Unload the model and free what it holds. Idempotent."""
        return None

    @property
    def problem(self) -> str | None:
        """Reason why the model cannot answer now (for example, its workers are being replaced), or None."""
        return None
