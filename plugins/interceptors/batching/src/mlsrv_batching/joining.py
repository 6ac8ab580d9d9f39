"""Joining: requests that fit together become one, and its response is split again."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from copy import copy
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)

_Tensor = TypeVar("_Tensor", RequestInput, ResponseOutput)

_REQUEST_ONLY_KEYS = frozenset({"headers", "timeout", "priority"})
"""Request parameters that concern a single request and not the model's work."""


def rows_of(request: InferenceRequest) -> int | None:
    """Return the length of the first axis that all inputs share, or None if the request cannot be joined.

    A request can be joined if its inputs hold flat data and their first axes have the same length, which is
    not 0.
    """
    rows: int | None = None
    for tensor in request.inputs:
        if not tensor.shape or (rows is not None and tensor.shape[0] != rows):
            return None
        rows = tensor.shape[0]
        if not isinstance(tensor.data, np.ndarray) and len(tensor.data) != math.prod(tensor.shape):
            return None
    return rows or None


def compatibility(request: InferenceRequest) -> Hashable:
    """Return a key that is equal for requests that may be joined.

    They have the same inputs (names, datatypes, trailing shapes, content types), the same requested outputs
    and the same request parameters.
    """
    inputs = tuple(
        (
            tensor.name,
            tensor.datatype,
            tuple(tensor.shape[1:]),
            None if tensor.parameters is None else tensor.parameters.content_type,
            tensor.data.dtype.str if isinstance(tensor.data, np.ndarray) else None,
        )
        for tensor in request.inputs
    )
    outputs = None
    if request.outputs is not None:
        outputs = tuple((output.name, _frozen(output.parameters)) for output in request.outputs)
    return inputs, outputs, _frozen(request.parameters)


def _frozen(parameters: Parameters | None) -> str | None:
    if parameters is None:
        return None
    relevant = {key: value for key, value in parameters.items() if key not in _REQUEST_ONLY_KEYS}
    return json.dumps(relevant, sort_keys=True, default=repr) if relevant else None


def join(requests: Sequence[InferenceRequest]) -> InferenceRequest:
    """Return one request with the rows of all requests, in order.

    Values of an input parameter that several requests have become a list; a single value stays as it is.
    """
    first = requests[0]
    inputs = [
        RequestInput(
            name=tensors[0].name,
            shape=[sum(tensor.shape[0] for tensor in tensors), *tensors[0].shape[1:]],
            datatype=tensors[0].datatype,
            data=_concatenate([tensor.data for tensor in tensors]),
            parameters=_merge_parameters([tensor.parameters for tensor in tensors]),
        )
        for tensors in zip(*(request.inputs for request in requests), strict=True)
    ]
    parameters = first.parameters
    if parameters is not None and parameters.headers is not None:
        parameters = Parameters(parameters.content_type, None, **parameters.extra)
    return InferenceRequest(
        inputs=inputs,
        parameters=parameters,
        outputs=first.outputs,
        model_name=first.model_name,
        model_version=first.model_version,
    )


def _concatenate(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate([part.reshape(-1) for part in parts])
    return list(chain.from_iterable(parts))


def _merge_parameters(parameters: Sequence[Parameters | None]) -> Parameters | None:
    given = [item for item in parameters if item is not None]
    if not given:
        return None
    values: dict[str, list[Any]] = {}
    for item in given:
        for key, value in item.extra.items():
            values.setdefault(key, []).append(value)
    extra = {key: found if len(found) > 1 else found[0] for key, found in values.items()}
    return Parameters(given[0].content_type, None, **extra)


def split(response: InferenceResponse, counts: Sequence[int]) -> list[InferenceResponse] | None:
    """Return one response for each member of a batch, or None if the outputs cannot be split by rows.

    Args:
        response: the response to the batch.
        counts: rows of each member.
    """
    total = sum(counts)
    for output in response.outputs:
        if not output.shape or output.shape[0] != total or _stride(output, total) is None:
            return None
    responses: list[InferenceResponse] = []
    start = 0
    for index, count in enumerate(counts):
        outputs = [
            _slice(output, start, start + count, total, index, len(counts)) for output in response.outputs
        ]
        responses.append(
            InferenceResponse(
                model_name=response.model_name,
                model_version=response.model_version,
                outputs=outputs,
                parameters=copy(response.parameters),
            )
        )
        start += count
    return responses


def cut(request: InferenceRequest, rows: int, max_rows: int) -> list[InferenceRequest]:
    """Return a request in pieces of at most `max_rows` rows."""
    pieces = []
    for start in range(0, rows, max_rows):
        end = min(start + max_rows, rows)
        inputs = [_slice(tensor, start, end, rows, 0, 1) for tensor in request.inputs]
        for piece, tensor in zip(inputs, request.inputs, strict=True):
            piece.parameters = tensor.parameters
        pieces.append(
            InferenceRequest(
                inputs=inputs,
                id=request.id,
                parameters=request.parameters,
                outputs=request.outputs,
                model_name=request.model_name,
                model_version=request.model_version,
            )
        )
    return pieces


def rejoin(responses: Sequence[InferenceResponse], counts: Sequence[int]) -> InferenceResponse | None:
    """Return the response to a request that was cut, or None if the pieces' outputs do not fit by rows."""
    first = responses[0]
    outputs: list[ResponseOutput] = []
    if len({tuple(output.name for output in response.outputs) for response in responses}) != 1:
        return None
    for parts in zip(*(response.outputs for response in responses), strict=True):
        if any(
            part.shape[:1] != [count] or _stride(part, count) is None
            for part, count in zip(parts, counts, strict=True)
        ):
            return None
        if len({(tuple(part.shape[1:]), part.datatype) for part in parts}) != 1:
            return None
        outputs.append(
            ResponseOutput(
                name=parts[0].name,
                shape=[sum(counts), *parts[0].shape[1:]],
                datatype=parts[0].datatype,
                data=_concatenate([part.data for part in parts]),
                parameters=parts[0].parameters,
            )
        )
    return InferenceResponse(
        model_name=first.model_name,
        model_version=first.model_version,
        outputs=outputs,
        id=first.id,
        parameters=first.parameters,
    )


def _stride(tensor: RequestInput | ResponseOutput, rows: int) -> int | None:
    """Return the number of elements of one row of flat data, or None if the data does not fill the shape."""
    size = tensor.data.size if isinstance(tensor.data, np.ndarray) else len(tensor.data)
    return size // rows if rows and size == math.prod(tensor.shape) else None


def _slice(tensor: _Tensor, start: int, end: int, total: int, index: int, members: int) -> _Tensor:
    data = tensor.data.reshape(-1) if isinstance(tensor.data, np.ndarray) else tensor.data
    stride = _stride(tensor, total) or 0
    return type(tensor)(
        name=tensor.name,
        shape=[end - start, *tensor.shape[1:]],
        datatype=tensor.datatype,
        data=data[start * stride : end * stride],
        parameters=_parameters_of_member(tensor.parameters, start, index, members),
    )


def _parameters_of_member(
    parameters: Parameters | None, row: int, index: int, members: int
) -> Parameters | None:
    """Return the parameters of one member.

    Of a list it gets the value at its own index if there is one for each member, else the value at its first
    row, or none if the list is too short. Other values are kept.
    """
    if parameters is None:
        return None
    extra: dict[str, Any] = {}
    for key, value in parameters.extra.items():
        if not isinstance(value, list):
            extra[key] = value
            continue
        position = index if len(value) == members else row
        if position < len(value):
            extra[key] = value[position]
    return Parameters(parameters.content_type, parameters.headers, **extra)
