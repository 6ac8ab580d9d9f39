"""Joining: the requests of several records as one, and its response as one for each record."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Any

import attrs
import numpy as np

from mlsrv_protocol.inference import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput


def rows_of(request: InferenceRequest) -> int | None:
    """Return the length of the first axis that all inputs share, or None if there is none."""
    lengths = {tensor.shape[0] if tensor.shape else None for tensor in request.inputs}
    return (lengths.pop() or None) if len(lengths) == 1 else None


def kind_of(request: InferenceRequest) -> Hashable:
    """Return a key that is equal for requests that may be joined: they differ in rows and ids alone."""
    inputs = tuple((t.name, t.datatype, tuple(t.shape[1:]), repr(t.parameters)) for t in request.inputs)
    return inputs, repr(request.parameters), repr(request.outputs)


def join(requests: Sequence[InferenceRequest]) -> InferenceRequest:
    """Return one request with the rows of all, which have one kind; a single one as it is."""
    first = requests[0]
    if len(requests) == 1:
        return first
    inputs = [
        RequestInput(
            tensors[0].name,
            [sum(tensor.shape[0] for tensor in tensors), *tensors[0].shape[1:]],
            tensors[0].datatype,
            _concatenated([tensor.data for tensor in tensors]),
            tensors[0].parameters,
        )
        for tensors in zip(*(request.inputs for request in requests), strict=True)
    ]
    return attrs.evolve(first, inputs=inputs, id=None)


def split(response: InferenceResponse, counts: Sequence[int]) -> list[InferenceResponse] | None:
    """Return the response for each of several requests, or None if an output has not one row for each.

    Args:
        response: to the joined request.
        counts: rows of each request.
    """
    total = sum(counts)
    if any(output.shape[:1] != [total] for output in response.outputs):
        return None
    ends = np.cumsum(counts).tolist()
    return [
        attrs.evolve(response, outputs=[_rows(output, end - count, end) for output in response.outputs])
        for count, end in zip(counts, ends, strict=True)
    ]


def _concatenated(parts: Sequence[Any]) -> Any:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate([part.reshape(-1) for part in parts])
    return list(chain.from_iterable(parts))


def _rows(output: ResponseOutput, start: int, end: int) -> ResponseOutput:
    stride = math.prod(output.shape[1:])
    shape = [end - start, *output.shape[1:]]
    return attrs.evolve(output, shape=shape, data=output.data[start * stride : end * stride])
