"""Content: cache keys of requests."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlsrv.testing import tensor_request, text_request
from mlsrv.types import InferenceRequest, Parameters, RequestInput, RequestOutput
from mlsrv_cache.content import SLOW_BYTES, content_key, is_slow
from mlsrv_protocol.pieces import PIECE


def _with_parameters(tensor: RequestInput) -> RequestInput:
    tensor.parameters = Parameters(timeout=1)
    return tensor


def test_the_key_depends_on_the_content_only() -> None:
    def keyed(**changes: Any) -> bytes:
        request = tensor_request("m", np.array([1, 2], np.int32))
        for name, value in changes.items():
            setattr(request, name, value)
        return content_key(request)

    same = [
        keyed(id="x"),
        keyed(parameters=Parameters(headers={"a": "b"}, timeout=1, priority=2)),
        keyed(parameters=Parameters()),
    ]
    other = [
        keyed(parameters=Parameters(temperature=1)),
        keyed(outputs=[RequestOutput("y")]),
        keyed(inputs=tensor_request("m", np.array([1, 3], np.int32)).inputs),
        keyed(inputs=tensor_request("m", np.array([1, 2], np.uint32)).inputs),
        keyed(inputs=tensor_request("m", np.array([[1, 2]], np.int32)).inputs),
        keyed(inputs=tensor_request("m", np.array([1, 2], np.int32), name="z").inputs),
        keyed(outputs=[RequestOutput("y", Parameters(priority=2))]),
        keyed(inputs=[_with_parameters(tensor_request("m", np.array([1, 2], np.int32)).inputs[0])]),
        content_key(text_request("m", ["1", "2"])),
        content_key(text_request("m", ["12"])),
    ]
    assert set(same) == {keyed()}
    assert len({keyed(), *other}) == 1 + len(other)


def test_long_lists_and_arrays_are_read_in_a_thread_and_all_of_them_counts() -> None:
    def long(last: str, count: int = 2 * PIECE) -> InferenceRequest:
        return text_request("m", [*["a"] * count, last])

    assert is_slow(long("a"))
    assert not is_slow(text_request("m", ["a"]))
    assert is_slow(tensor_request("m", np.zeros(SLOW_BYTES, np.uint8)))
    keys = [content_key(one) for one in (long("a"), long("b"), long("a", PIECE))]
    assert len(set(keys)) == 3
    assert content_key(long("a")) == keys[0]
