"""Joining: requests that fit together become one, and its response is split again."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Sequence
from copy import copy
from itertools import chain
from typing import Any, Generic, TypeVar

import numpy as np

from mlsrv_batching.parameters import (
    REQUEST_ONLY_KEYS,
    Dealer,
    input_key,
    merge,
    output_key,
    request_key,
)
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
)

_Tensor = TypeVar("_Tensor", RequestInput, ResponseOutput)


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


def compatibility(request: InferenceRequest, shared: Collection[str] = ()) -> Hashable:
    """Return a key that is equal for requests that may be joined.

    They have the same inputs (names, datatypes, trailing shapes, content types, keys and kinds of their
    parameters), the same requested outputs and the same request parameters.

    Args:
        request: one request.
        shared: the keys of input parameters whose values must be equal, too.
    """
    inputs = tuple(
        (
            tensor.name,
            tensor.datatype,
            tuple(tensor.shape[1:]),
            None if tensor.parameters is None else tensor.parameters.content_type,
            tensor.data.dtype.str if isinstance(tensor.data, np.ndarray) else None,
            input_key(tensor.parameters, shared),
        )
        for tensor in request.inputs
    )
    outputs = None
    if request.outputs is not None:
        outputs = tuple((output.name, output_key(output.parameters)) for output in request.outputs)
    return inputs, outputs, request_key(request.parameters)


def join(requests: Sequence[InferenceRequest], shared: Collection[str] = ()) -> InferenceRequest:
    """Return one request with the rows of all requests, in order.

    The value of an input parameter becomes the list of the requests' values, except for the keys in `shared`.
    The requests must agree by `compatibility`.
    """
    first = requests[0]
    inputs = [
        RequestInput(
            name=tensors[0].name,
            shape=[sum(tensor.shape[0] for tensor in tensors), *tensors[0].shape[1:]],
            datatype=tensors[0].datatype,
            data=_concatenate([tensor.data for tensor in tensors]),
            parameters=merge([tensor.parameters for tensor in tensors], shared),
            nested=tensors[0].nested,
        )
        for tensors in zip(*(request.inputs for request in requests), strict=True)
    ]
    parameters = first.parameters
    if parameters is not None:
        extra = {key: value for key, value in parameters.extra.items() if key not in REQUEST_ONLY_KEYS}
        parameters = Parameters(parameters.content_type, None, **extra)
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


def split(
    response: InferenceResponse, counts: Sequence[int], dealer: Dealer
) -> list[InferenceResponse] | None:
    """Return one response for each member of a batch, or None if the outputs cannot be split by rows.

    Args:
        response: the response to the batch.
        counts: rows of each member.
        dealer: deals the parameters out.

    Raises:
        NotDealt: a parameter holds values of several members that cannot be told apart.
    """
    total = sum(counts)
    for output in response.outputs:
        if not output.shape or output.shape[0] != total or _stride(output, total) is None:
            return None
        if not dealer.splits_rows(output, total):
            return None
    responses: list[InferenceResponse] = []
    slicers = [(output, _Slicer(output, total)) for output in response.outputs]
    start = 0
    for member, count in enumerate(counts):
        end = start + count
        outputs = [
            slicer.part(start, end, dealer.of_output(output, member, start, end))
            for output, slicer in slicers
        ]
        responses.append(
            InferenceResponse.construct(
                response.model_name,
                outputs,
                response.model_version,
                parameters=dealer.of_response(response, member),
            )
        )
        start = end
    return responses


def cut(request: InferenceRequest, rows: int, max_rows: int) -> list[InferenceRequest]:
    """Return a request in pieces of at most `max_rows` rows."""
    pieces = []
    slicers = [(tensor, _Slicer(tensor, rows)) for tensor in request.inputs]
    for start in range(0, rows, max_rows):
        end = min(start + max_rows, rows)
        pieces.append(
            InferenceRequest(
                inputs=[slicer.part(start, end, tensor.parameters) for tensor, slicer in slicers],
                id=request.id,
                parameters=request.parameters,
                outputs=request.outputs,
                model_name=request.model_name,
                model_version=request.model_version,
            )
        )
    return pieces


def rejoin(
    responses: Sequence[InferenceResponse], counts: Sequence[int], by_row: Collection[str] = ()
) -> InferenceResponse | None:
    """Return the response to a request that was cut, or None if the pieces' outputs do not fit by rows.

    Lists for the keys in `by_row` of output parameters are concatenated.
    """
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
                parameters=_parameters_of_pieces([part.parameters for part in parts], by_row),
                nested=parts[0].nested,
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


class _Slicer(Generic[_Tensor]):
    """Takes rows of a tensor with `total` rows, whose data is flat."""

    def __init__(self, tensor: _Tensor, total: int) -> None:
        self._tensor: _Tensor = tensor
        self._data: Any = tensor.data.reshape(-1) if isinstance(tensor.data, np.ndarray) else tensor.data
        self._stride = _stride(tensor, total) or 0
        self._row_shape = list(tensor.shape[1:])

    def part(self, start: int, end: int, parameters: Parameters | None) -> _Tensor:
        """Return the rows from `start` to before `end`, with these parameters."""
        tensor, stride = self._tensor, self._stride
        return type(tensor).construct(
            tensor.name,
            [end - start, *self._row_shape],
            tensor.datatype,
            self._data[start * stride : end * stride],
            parameters,
            tensor.nested,
        )


def _parameters_of_pieces(pieces: Sequence[Parameters | None], by_row: Collection[str]) -> Parameters | None:
    """Return the parameters of the first piece, with the lists for the keys in `by_row` of all."""
    first = pieces[0]
    if first is None or not by_row:
        return first
    joined = copy(first)
    for key in by_row:
        lists = [None if piece is None else piece.extra.get(key) for piece in pieces]
        if all(isinstance(found, list) for found in lists):
            joined.extra[key] = list(chain.from_iterable(found for found in lists if found is not None))
    return joined
