"""Joining compatible requests into one, and splitting the answer."""

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

_OWN_KEYS = frozenset({"headers", "timeout", "priority"})
"""Request parameters that belong to one caller and say nothing about the model's work."""


def rows_of(request: InferenceRequest) -> int | None:
    """The length of the first axis, if all inputs share it and hold plain flat data; else None: not to be
    joined."""
    rows: int | None = None
    for tensor in request.inputs:
        if not tensor.shape or (rows is not None and tensor.shape[0] != rows):
            return None
        rows = tensor.shape[0]
        if not isinstance(tensor.data, np.ndarray) and len(tensor.data) != math.prod(tensor.shape):
            return None
    return rows or None


def compatibility(request: InferenceRequest) -> Hashable:
    """Requests with equal keys may be joined: same inputs (names, datatypes, trailing shapes, content
    types), same requested outputs, same request parameters."""
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
    matters = {key: value for key, value in parameters.items() if key not in _OWN_KEYS}
    return json.dumps(matters, sort_keys=True, default=repr) if matters else None


def join(requests: Sequence[InferenceRequest]) -> InferenceRequest:
    """One request with the rows of all of them, in order. Values of an input parameter that several requests
    have become a list; a single one stays as it is."""
    first = requests[0]
    inputs = [
        RequestInput(
            name=tensors[0].name,
            shape=[sum(tensor.shape[0] for tensor in tensors), *tensors[0].shape[1:]],
            datatype=tensors[0].datatype,
            data=_joined([tensor.data for tensor in tensors]),
            parameters=_merged([tensor.parameters for tensor in tensors]),
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


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate([part.reshape(-1) for part in parts])
    return list(chain.from_iterable(parts))


def _merged(parameters: Sequence[Parameters | None]) -> Parameters | None:
    given = [one for one in parameters if one is not None]
    if not given:
        return None
    values: dict[str, list[Any]] = {}
    for one in given:
        for key, value in one.extra.items():
            values.setdefault(key, []).append(value)
    extra = {key: found if len(found) > 1 else found[0] for key, found in values.items()}
    return Parameters(given[0].content_type, None, **extra)


def split(response: InferenceResponse, counts: Sequence[int]) -> list[InferenceResponse] | None:
    """One response for each request of `counts` rows, or None if an output does not have one row for each of
    theirs."""
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


def cut(request: InferenceRequest, rows: int, most: int) -> list[InferenceRequest]:
    """A request in pieces of at most `most` rows."""
    pieces = []
    for start in range(0, rows, most):
        end = min(start + most, rows)
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
    """The response to a request that was cut, or None if the pieces do not fit together row by row."""
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
                data=_joined([part.data for part in parts]),
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
    """Elements of one row of flat data, or None if the data is not `rows` times a whole number of them."""
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
        parameters=_parted(tensor.parameters, start, index, members),
    )


def _parted(parameters: Parameters | None, row: int, index: int, members: int) -> Parameters | None:
    """The parameters of one member: of a list, its own value (by member, else by its first row), or none if
    the list is too short; anything else as it is."""
    if parameters is None:
        return None
    extra: dict[str, Any] = {}
    for key, value in parameters.extra.items():
        if not isinstance(value, list):
            extra[key] = value
            continue
        place = index if len(value) == members else row
        if place < len(value):
            extra[key] = value[place]
    return Parameters(parameters.content_type, parameters.headers, **extra)
