"""Placement: explanations of another model of the server, which is asked in the same kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, ModelFailed
from mlsrv.kernel_api import KernelAPI
from mlsrv.placement import ModelInfo, Placement
from mlsrv.settings import ModelSettings
from mlsrv.threads import run_in_own_thread
from mlsrv.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)
from mlsrv_runtime_kit import extra_value
from mlsrv_shap import explainers
from mlsrv_shap.answer import Form
from mlsrv_shap.options import Matrix, read_options
from mlsrv_shap.runtime import as_matrix, check_rows

ROWS = 256
"""Rows of one question; more are several questions at the same time, which batching joins as it can."""

AT_A_TIME = 4
"""Requests that are explained at the same time; others wait."""


class PlacedExplainer(Placement):
    """Explains a model by asking it: with features of the request, and with features of the background.

    Args:
        kernel: takes the questions, wherever the model runs.
        settings: of the explaining model.
        asked: name of the model that is explained.

    Raises:
        ModelLoadError: a setting is wrong.
    """

    def __init__(self, kernel: KernelAPI, settings: ModelSettings, asked: str) -> None:
        self._kernel = kernel
        self._settings = settings
        self._asked = asked
        version = settings.parameters.extra.get("version")
        self._version = None if version is None else str(version)
        self._output = extra_value(settings, "output", str, "")
        self._options = read_options(settings, ("auto", "permutation", "kernel"))
        self._kind = "permutation" if self._options.explainer == "auto" else self._options.explainer
        self._options.background_for(settings.name, self._kind)
        self._form = Form(settings.name, settings.version, self._kind, "value", self._options.names)
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self.info = ModelInfo(
            platform=settings.platform or "shap",
            versions=tuple(settings.versions),
            inputs=tuple(settings.inputs),
            outputs=tuple(settings.outputs) or self._form.outputs(),
            parameters=Parameters(model=asked, explainer=self._kind),
            check_outputs=False,
            asynchronous=True,
        )

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        """Answer one request.

        Raises:
            MLSrvError: as the model that is asked; `InferenceError` for a request that cannot be explained.
        """
        context.check()
        wanted = self._form.check(request)
        rows = _matrix(self._settings.name, request.inputs)
        check_rows(self._settings.name, rows, self._options.most_rows)
        background = self._options.background
        if background is not None and background.shape[1] != rows.shape[1]:
            raise InferenceError(
                f"Model {self._settings.name}: the request has {rows.shape[1]} features, and the background "
                f"has {background.shape[1]}."
            )
        async with self._slots:
            context.check()
            predict = self._predictor(request, context)
            explainer = explainers.of_function(self._settings.name, predict, self._options, self._kind)
            found = await run_in_own_thread(explainer.explain, rows)
        answer = self._form.answer(request, wanted, rows, found)
        answer.id = request.id or context.request_id
        return answer

    def _predictor(self, request: InferenceRequest, context: CallContext) -> Callable[[Matrix], Matrix]:
        """Return the model as a function of a matrix, to be called in another thread."""
        loop = asyncio.get_running_loop()

        def predict(rows: Matrix) -> Matrix:
            context.check()
            return asyncio.run_coroutine_threadsafe(self._ask(rows, request, context), loop).result()

        return predict

    async def _ask(self, rows: Matrix, request: InferenceRequest, context: CallContext) -> Matrix:
        parts = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask_part(part, request, context)) for part in parts]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return np.concatenate([task.result() for task in tasks])

    async def _ask_part(self, rows: Matrix, request: InferenceRequest, context: CallContext) -> Matrix:
        given = request.parameters.dict() if request.parameters is not None else {}
        question = InferenceRequest(
            _split(rows, request.inputs),
            parameters=Parameters(**given) if given else None,
            model_name=self._asked,
            model_version=self._version,
        )
        answer = await self._kernel.infer(question, _child(context))
        return self._numbers(answer.outputs, len(rows))

    def _numbers(self, outputs: list[ResponseOutput], rows: int) -> Matrix:
        found = next((one for one in outputs if one.name == self._output or not self._output), None)
        if found is None:
            has = ", ".join(one.name for one in outputs) or "none"
            raise InferenceError(f"Model {self._asked} has no output {self._output}; it has {has}.")
        try:
            values = np.asarray(found.data, np.float64).reshape(rows, -1)
        except (ValueError, TypeError) as error:
            raise InferenceError(
                f"Model {self._asked}: the output {found.name} is no table of numbers with a row for each "
                "row of the request; name another one in parameters.extra.output."
            ) from error
        if not np.isfinite(values).all():
            raise ModelFailed(f"Model {self._asked}: the output {found.name} has values that are not finite.")
        return values[:, 0] if values.shape[1] == 1 else values


def _matrix(model: str, inputs: list[RequestInput]) -> Matrix:
    """Return the features of a request: one matrix, or a column for each tensor."""
    columns = []
    for tensor in inputs:
        if tensor.datatype in (Datatype.BYTES, Datatype.BF16):
            raise InferenceError(f"Model {model} explains numbers, not {tensor.name} of {tensor.datatype}.")
        values = as_matrix(model, tensor.data)
        shape = list(tensor.shape)
        if len(shape) > 2 or (len(inputs) > 1 and shape[1:] not in ([], [1])):
            raise InferenceError(
                f"Model {model} explains one matrix, or one tensor of a column for each feature; "
                f"{tensor.name} has the shape {shape}."
            )
        rows = shape[0] if shape else 1
        columns.append(values.reshape(rows, shape[1] if len(shape) > 1 else 1))
    if not columns or any(len(column) != len(columns[0]) for column in columns):
        raise InferenceError(f"Model {model}: the inputs must have the same number of rows.")
    return np.concatenate(columns, axis=1)


def _split(rows: Matrix, inputs: list[RequestInput]) -> list[RequestInput]:
    """Return rows in the form of the inputs of a request, with their names and datatypes."""
    parts = [rows] if len(inputs) == 1 else [rows[:, index : index + 1] for index in range(len(inputs))]
    made = []
    for tensor, part in zip(inputs, parts, strict=True):
        shape = [len(part), *tensor.shape[1:]]
        values = np.ascontiguousarray(part).reshape(-1)
        datatype = Datatype(tensor.datatype)
        dtype = datatype.dtype
        if dtype is not None and dtype.kind in "biu" and not np.array_equal(values.astype(dtype), values):
            datatype = Datatype.FP64  # values of the background that such a tensor cannot hold
        else:
            values = values.astype(dtype)
        made.append(RequestInput(tensor.name, shape, datatype, values, tensor.parameters))
    return made


def _child(context: CallContext) -> CallContext:
    """Return the context of a question: with the deadline, trace and principal of the request."""
    made = CallContext(
        context.request_id,
        context.deadline,
        context.priority,
        context.headers,
        context.trace,
        context.transport,
        principal=context.principal,
    )
    context.on_cancel(made.cancel)
    return made
