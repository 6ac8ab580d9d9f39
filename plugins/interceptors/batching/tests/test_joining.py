"""Joining: join, split, cut and rejoin without a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv_batching.joining import compatibility, cut, join, rejoin, rows_of, split
from mlsrv_batching.parameters import Dealer


def request(rows: int = 1, **more: Any) -> InferenceRequest:
    array = np.arange(rows * 2, dtype=np.float32)
    return InferenceRequest([RequestInput("x", [rows, 2], "FP32", array)], **more)


def dealer(joined: InferenceRequest, counts: list[int]) -> Dealer:
    return Dealer(joined, len(counts))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_split_reverses_join(counts: list[int]) -> None:
    requests = [request(count) for count in counts]
    joined = join(requests)
    assert joined.inputs[0].shape == [sum(counts), 2]
    tensor = joined.inputs[0]
    parts = split(
        InferenceResponse("m", [ResponseOutput("x", tensor.shape, "FP32", tensor.data)]),
        counts,
        dealer(joined, counts),
    )
    assert parts is not None
    for part, one in zip(parts, requests, strict=True):
        assert part.outputs[0].shape == one.inputs[0].shape
        assert part.outputs[0].data.tolist() == one.inputs[0].data.tolist()


@given(st.integers(1, 30), st.integers(1, 7))
def test_rejoin_reverses_cut(rows: int, most: int) -> None:
    pieces = cut(request(rows), rows, most)
    counts = [piece.inputs[0].shape[0] for piece in pieces]
    assert max(counts) <= most
    answers = [
        InferenceResponse("m", [ResponseOutput("x", p.inputs[0].shape, "FP32", p.inputs[0].data)])
        for p in pieces
    ]
    joined = rejoin(answers, counts)
    assert joined is not None
    assert joined.outputs[0].data.tolist() == list(range(rows * 2))


@pytest.mark.parametrize(
    "other",
    [
        InferenceRequest([RequestInput("y", [1, 2], "FP32", np.zeros(2, np.float32))]),
        InferenceRequest([RequestInput("x", [1, 2], "FP64", np.zeros(2))]),
        InferenceRequest([RequestInput("x", [1, 3], "FP32", np.zeros(3, np.float32))]),
        InferenceRequest([RequestInput("x", [1, 2], "FP32", np.zeros(2, np.float32), Parameters("np"))]),
        request(outputs=[RequestOutput("y")]),
        InferenceRequest([RequestInput("x", [1, 2], "FP32", np.zeros(2, np.float32), Parameters(user="a"))]),
        request(parameters=Parameters(temperature=0.9)),
        request(parameters=Parameters(content_type="pd")),
    ],
)
def test_requests_that_differ_are_not_joined(other: InferenceRequest) -> None:
    assert compatibility(request()) != compatibility(other)


def test_ids_headers_timeouts_and_priorities_do_not_matter() -> None:
    one = request(id="1", parameters=Parameters(headers={"a": "b"}, timeout=5, priority=1))
    assert compatibility(one) == compatibility(request(2, id="2"))
    assert join([one, request()]).parameters == Parameters()


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [RequestInput("x", [], "FP32", np.zeros(1, np.float32))],
        [RequestInput("x", [0, 2], "FP32", np.zeros(0, np.float32))],
        [RequestInput("x", [1], "INT8", [1]), RequestInput("y", [2], "INT8", [1, 2])],
        [RequestInput("x", [2, 1], "INT8", [[1], [2]])],
        [RequestInput("x", [2, 2], "INT8", [[1, 2], [3, 4]])],
    ],
)
def test_requests_without_rows_are_not_joined(inputs: list[RequestInput]) -> None:
    found = rows_of(InferenceRequest(inputs))
    assert found is None or all(len(tensor.data) == found for tensor in inputs)


@pytest.mark.parametrize(
    "output",
    [
        ResponseOutput("y", [1], "FP32", [1.0]),
        ResponseOutput("y", [], "FP32", [1.0]),
        ResponseOutput("y", [2, 2], "FP32", [1.0, 2.0]),
    ],
)
def test_outputs_without_one_row_for_each_row_are_not_split(output: ResponseOutput) -> None:
    answer = InferenceResponse("m", [output])
    assert split(answer, [1, 1], dealer(join([request(), request()]), [1, 1])) is None
