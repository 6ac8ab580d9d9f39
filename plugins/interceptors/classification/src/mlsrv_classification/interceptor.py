"""Classification: the highest values of an output, each with its index and its label.

Source: Triton's "Classification Extension".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from mlsrv.context import CallContext
from mlsrv.errors import InvalidPayload
from mlsrv.interceptor import CallNext, Interceptor, Phase, StreamNext
from mlsrv.placement import ModelInfo
from mlsrv_protocol.datatypes import Datatype, bf16_to_float32
from mlsrv_protocol.tensors import numeric
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestOutput,
    ResponseOutput,
)

PARAMETER = "classification"
MOST_ELEMENTS = 1_000_000


class Classification(Interceptor):
    """Turns the outputs that are requested with the parameter ``classification: k`` into texts
    ``value:index`` or ``value:index:label``, the k highest first, for each row: BYTES of shape ``[rows, k]``,
    or ``[k]`` where the output has one dimension.

    Labels are the parameter ``labels`` (a list) of the output, in the model's metadata or else in the answer.
    The model, and caches and batches before it, do not see the parameter ``classification``.
    """

    phase: ClassVar[Phase] = Phase.GUARD
    infer_only: ClassVar[bool] = True
    skips_encoded: ClassVar[bool] = True

    def __init__(self, info: ModelInfo) -> None:
        self._labels = {tensor.name: labels for tensor in info.outputs if (labels := _labels_of(tensor))}

    def __call__(  # type: ignore[override]  # no coroutine of its own where nothing is asked
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> Awaitable[InferenceResponse]:
        if request.outputs is None or not (counts := _counts(request.outputs)):
            return call_next(request, context)
        return self._classified(counts, call_next(_without(request), context))

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext, call_next: StreamNext
    ) -> AsyncIterator[InferenceResponse]:
        counts: dict[str, int] = {}

        async def taken() -> AsyncIterator[InferenceRequest]:
            async for request in requests:
                counts.update(_counts(request.outputs or ()))
                yield _without(request)

        async with aclosing(call_next(taken(), context)) as responses:  # type: ignore[type-var]  # generators
            async for response in responses:
                yield self._of(response, counts) if counts else response

    async def _classified(
        self, counts: Mapping[str, int], answer: Awaitable[InferenceResponse]
    ) -> InferenceResponse:
        return self._of(await answer, counts)

    def _of(self, response: InferenceResponse, counts: Mapping[str, int]) -> InferenceResponse:
        # A new message: the response may live on in a cache.
        outputs = [
            classes_of(output, counts[output.name], self._labels.get(output.name) or _labels_of(output))
            if output.name in counts
            else output
            for output in response.outputs
        ]
        return attrs.evolve(response, outputs=outputs)


def classes_of(output: ResponseOutput, count: int, labels: Sequence[str]) -> ResponseOutput:
    """Return the highest values of an output, as texts.

    Raises:
        InvalidPayload: the output is not numeric, or too large.
    """
    if output.datatype is Datatype.BYTES:
        raise InvalidPayload(f'The output "{output.name}" is BYTES, which classification cannot rank.')
    flat = numeric(output.data, output.datatype)
    if flat.size > MOST_ELEMENTS:
        raise InvalidPayload(
            f'The output "{output.name}" has {flat.size} elements; classification takes {MOST_ELEMENTS}.'
        )
    values: npt.NDArray[Any] = bf16_to_float32(flat) if output.datatype is Datatype.BF16 else flat
    lead = list(output.shape[:1]) if len(output.shape) > 1 else []
    rows = values.reshape(lead[0] if lead else 1, -1) if values.size else values.reshape(*(lead or [1]), 0)
    count = min(count, rows.shape[1])
    # Stable, so that the first of equal values comes first; NaN sorts as the lowest.
    order = np.argsort(_descending(rows), axis=1, kind="stable")[:, :count]
    texts = [
        _text(value, index, labels)
        for row, indices in zip(rows, order, strict=True)
        for value, index in zip(row[indices].tolist(), indices.tolist(), strict=True)
    ]
    return ResponseOutput(output.name, [*lead, count], Datatype.BYTES, texts)


def _labels_of(tensor: MetadataTensor | ResponseOutput) -> Sequence[str]:
    found = tensor.parameters.get("labels") if tensor.parameters is not None else None
    return found if isinstance(found, list) else ()


def _descending(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Keys that sort the highest value first; numpy puts NaN at the end by itself."""
    # Of whole numbers a minus could overflow; inverting their bits reverses the order, too.
    keys: npt.NDArray[Any] = np.negative(rows) if rows.dtype.kind == "f" else np.invert(rows)
    return keys


def _text(value: Any, index: int, labels: Sequence[str]) -> str:
    number = f"{value:f}" if isinstance(value, float) else str(int(value))
    return f"{number}:{index}:{labels[index]}" if index < len(labels) else f"{number}:{index}"


def _counts(outputs: Sequence[RequestOutput]) -> dict[str, int]:
    """Return the number of classes that are asked for, by output.

    Raises:
        InvalidPayload: a number is not positive.
    """
    asked = {
        output.name: output.parameters.extra[PARAMETER]
        for output in outputs
        if output.parameters is not None and PARAMETER in output.parameters.extra
    }
    for name, count in asked.items():
        if type(count) is not int or count < 1:
            raise InvalidPayload(
                f'The output "{name}" is asked for with classification {str(count)[:60]}; '
                "it must be a whole number from 1 up."
            )
    return asked


def _without(request: InferenceRequest) -> InferenceRequest:
    """Return the request without these parameters; the caller keeps the one that it made."""
    if request.outputs is None:
        return request
    return attrs.evolve(request, outputs=[_plain(output) for output in request.outputs])


def _plain(output: RequestOutput) -> RequestOutput:
    if output.parameters is None or PARAMETER not in output.parameters.extra:
        return output
    rest = {key: value for key, value in output.parameters.items() if key != PARAMETER}
    return RequestOutput(output.name, Parameters(**rest) if rest else None)
