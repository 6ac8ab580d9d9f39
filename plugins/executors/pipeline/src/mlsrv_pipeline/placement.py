"""Placement: one pipeline, which asks the models of its steps for each request."""

from __future__ import annotations

import asyncio
from typing import Any

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, ModelFailed
from mlsrv.kernel_api import KernelAPI
from mlsrv.placement import ModelInfo, Placement
from mlsrv.settings import ModelSettings
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput
from mlsrv_pipeline.definition import REQUEST, Definition, Reference, Step

Tensor = RequestInput | ResponseOutput


class PlacedPipeline(Placement):
    """A pipeline that is loaded.

    Args:
        kernel: takes the requests of the steps, wherever their models run.
        settings: of the model.
        definition: its steps.
    """

    def __init__(self, kernel: KernelAPI, settings: ModelSettings, definition: Definition) -> None:
        self._kernel = kernel
        self._settings = settings
        self._definition = definition
        steps = [f"{step.name}={step.model}" for step in definition.steps]
        self.info = ModelInfo(
            platform=settings.platform or "pipeline",
            versions=tuple(settings.versions),
            inputs=tuple(settings.inputs),
            outputs=tuple(settings.outputs),
            parameters=Parameters(steps=steps),
            asynchronous=True,
        )

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        """Answer one request: ask each step as soon as those that it needs have answered.

        Raises:
            MLSrvError: as the models of the steps; the first failure ends all.
        """
        context.check()
        outputs = self._outputs(await self._run(request, context))
        return InferenceResponse(
            self._settings.name, outputs, self._settings.version, request.id or context.request_id
        )

    async def _run(self, request: InferenceRequest, context: CallContext) -> dict[str, dict[str, Tensor]]:
        """Return the tensors of the request and of each step that ran, by step and name."""
        found: dict[str, dict[str, Tensor]] = {REQUEST: {tensor.name: tensor for tensor in request.inputs}}
        tasks: dict[str, asyncio.Task[None]] = {}

        async def run(step: Step) -> None:
            for needed in step.needs:
                await asyncio.shield(tasks[needed])
            if self._runs(step, found):
                answer = await self._kernel.infer(self._question(step, request, found), context.question())
                found[step.name] = {output.name: output for output in answer.outputs}

        try:
            async with asyncio.TaskGroup() as group:
                for step in self._definition.steps:
                    tasks[step.name] = group.create_task(run(step))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return found

    def _runs(self, step: Step, found: dict[str, dict[str, Tensor]]) -> bool:
        """Return whether the conditions of a step hold. One whose inputs come from a step that did not run
        does not run, either."""
        if any(needed not in found for needed in step.needs):
            return False
        return all(_first(self._tensor(where, found)) == value for where, value in step.when.items())

    def _question(
        self, step: Step, request: InferenceRequest, found: dict[str, dict[str, Tensor]]
    ) -> InferenceRequest:
        inputs = request.inputs
        if step.inputs:
            inputs = [_named(name, self._tensor(where, found)) for name, where in step.inputs.items()]
        given = request.parameters.dict() if request.parameters is not None and not step.inputs else {}
        given |= step.parameters
        return InferenceRequest(
            inputs,
            parameters=Parameters(**given) if given else None,
            model_name=step.model,
            model_version=step.version,
        )

    def _tensor(self, where: Reference, found: dict[str, dict[str, Tensor]]) -> Tensor:
        tensors = found[where.step]
        if where.tensor in tensors:
            return tensors[where.tensor]
        has = ", ".join(sorted(tensors)) or "none"
        if where.step == REQUEST:
            raise InferenceError(
                f"Model {self._settings.name} needs the input {where.tensor}; the request has {has}."
            )
        raise ModelFailed(f"Model {self._settings.name}: there is no output {where}; the step has {has}.")

    def _outputs(self, found: dict[str, dict[str, Tensor]]) -> list[ResponseOutput]:
        definition = self._definition
        if definition.outputs:
            made = []
            for name, several in definition.outputs.items():
                where = next((one for one in several if one.step in found), None)
                if where is not None:
                    made.append(_output(name, self._tensor(where, found)))
            return made
        read = {needed for step in definition.steps for needed in step.needs}
        last = [step.name for step in definition.steps if step.name not in read and step.name in found]
        names = [name for step in last for name in found[step]]
        return [
            _output(name if names.count(name) == 1 else f"{step}.{name}", tensor)
            for step in last
            for name, tensor in found[step].items()
        ]


def _named(name: str, tensor: Tensor) -> RequestInput:
    return RequestInput(name, tensor.shape, tensor.datatype, tensor.data, tensor.parameters)


def _output(name: str, tensor: Tensor) -> ResponseOutput:
    return ResponseOutput(name, tensor.shape, tensor.datatype, tensor.data, tensor.parameters)


def _first(tensor: Tensor) -> Any:
    """Return the first element of a tensor as a Python value; None if it has none."""
    if len(tensor.data) == 0:
        return None
    value = tensor.data[0]
    value = value.item() if hasattr(value, "item") else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value
