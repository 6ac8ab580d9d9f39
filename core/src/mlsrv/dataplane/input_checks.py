"""Input checks: compare requests with the tensors that a model declares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, InputsNotFound, OutputNotFound
from mlsrv.interceptor import CallNext, Interceptor, Phase, StreamNext
from mlsrv.placement import ModelInfo
from mlsrv.settings import KernelModelSettings, ModelSettings
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, MetadataTensor, RequestInput


class DeclaredTensors(Interceptor):
    """Refuses requests whose inputs or requested outputs deviate from the model's metadata (OIP reference: a
    server that knows the inputs answers 400).

    An input of shape ``[n]`` also fits a declared ``[-1, 1]`` and the other way round: codecs write a column
    either way. A declared ``[]`` takes any shape. An input whose declared metadata has the parameter
    ``optional: true`` may be missing.
    """

    phase: ClassVar[Phase] = Phase.GUARD
    infer_only: ClassVar[bool] = True
    skips_encoded: ClassVar[bool] = True

    def __init__(self, model: str, info: ModelInfo) -> None:
        self._model = model
        self._inputs = {tensor.name: tensor for tensor in info.inputs} if info.check_inputs else {}
        self._outputs = {tensor.name for tensor in info.outputs} if info.check_outputs else set()
        self._required = {tensor.name for tensor in info.inputs if not _optional(tensor)}

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        self.check(request)
        return await call_next(request, context)

    def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        return call_next(self._checked(requests), context)

    async def _checked(self, requests: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceRequest]:
        async for request in requests:
            self.check(request)
            yield request

    def check(self, request: InferenceRequest) -> None:
        """Raises:
        InputsNotFound, OutputNotFound, InferenceError: the request deviates.
        """
        if self._inputs:
            self._check_inputs(request.inputs)
        if self._outputs:
            for output in request.outputs or ():
                if output.name not in self._outputs:
                    raise OutputNotFound.unknown(self._model, output.name, self._outputs)

    def _check_inputs(self, inputs: Sequence[RequestInput]) -> None:
        names = [tensor.name for tensor in inputs]
        unknown = [name for name in names if name not in self._inputs]
        if unknown:
            raise InputsNotFound.unknown(self._model, unknown, self._inputs)
        missing = self._required.difference(names)
        if missing:
            raise InputsNotFound.missing(self._model, missing, self._inputs)
        for tensor in inputs:
            declared = self._inputs[tensor.name]
            if tensor.datatype != declared.datatype:
                raise InferenceError(
                    f'Model {self._model}, input "{tensor.name}": datatype {tensor.datatype} was sent, '
                    f"the model takes {declared.datatype}."
                )
            if declared.shape and not _fits(tensor.shape, declared.shape):
                raise InferenceError(
                    f'Model {self._model}, input "{tensor.name}": shape {list(tensor.shape)} was sent, '
                    f"the model takes {list(declared.shape)} (-1 is any size)."
                )


def declared_tensors(model: ModelSettings, info: ModelInfo) -> DeclaredTensors | None:
    """Return the check of the requests to a model, or None if it wants none or declares nothing."""
    wanted = model.of(KernelModelSettings).check_inputs and (info.inputs or info.outputs)
    return DeclaredTensors(model.name, info) if wanted else None


def _optional(tensor: MetadataTensor) -> bool:
    return tensor.parameters is not None and bool(tensor.parameters.get("optional"))


def _fits(shape: Sequence[int], declared: Sequence[int]) -> bool:
    if len(shape) == len(declared):
        for size, wanted in zip(shape, declared, strict=True):  # noqa: SIM110  # all() costs twice as much
            if wanted not in (size, -1):
                return False
        return True
    shorter, longer = (shape, declared) if len(shape) < len(declared) else (declared, shape)
    if len(shorter) != 1 or len(longer) != 2 or longer[1] not in (1, -1):
        return False
    return shorter[0] == longer[0] or (-1 in (shorter[0], longer[0]) and declared[0] == -1)
