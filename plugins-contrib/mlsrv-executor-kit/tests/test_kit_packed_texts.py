"""Packed texts: long lists of texts come out as they went in, others are not packed."""

import pickle
from typing import Any

import pytest

from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.packed_texts import LONG, pack_texts, unpack_texts
from mlsrv_executor_kit.plain_data import NotPlain
from mlsrv_executor_kit.plain_values import dump
from mlsrv_protocol.types import InferenceRequest, RequestInput


class Text(str):
    """A class that the other process may lack."""


@pytest.mark.parametrize("count", [LONG, 2**16, 2**16 + 1, 3 * 2**16 + 5])
@pytest.mark.parametrize("texts", [["a", "", "ä€😀", "\ud800"], [b"a", b"", b"\xff"], ["a", b"a"]])
def test_texts_come_out_as_they_went_in(texts: list[Any], count: int) -> None:
    data = (texts * count)[:count]
    packed = pack_texts(data)
    assert packed is not None
    found = unpack_texts(packed)
    assert found == data
    assert [type(one) for one in found[:4]] == [type(one) for one in data[:4]]


@pytest.mark.parametrize("odd", [1, None, Text("a"), ["a"], bytearray(b"a")])
def test_lists_with_anything_else_and_short_ones_are_not_packed(odd: Any) -> None:
    assert pack_texts(["a"] * LONG + [odd]) is None
    assert pack_texts(["a"] * (LONG - 1)) is None


@pytest.mark.parametrize("piece", [pickle.dumps("text"), pickle.dumps(print), b"", b"junk", 1, "text"])
def test_pieces_of_a_worker_are_read_as_plain_data(piece: Any) -> None:
    with pytest.raises(NotPlain):
        unpack_texts([piece])


def test_a_request_with_many_texts_takes_few_bytes_and_comes_out_the_same() -> None:
    data = [str(index) for index in range(LONG * 2)]
    tensor = RequestInput.construct("x", [len(data)], "BYTES", data)
    buffers: serialization.Buffers = []
    body = dump(serialization.dump_request(InferenceRequest.construct([tensor]), buffers))
    loaded = serialization.load_request(pickle.loads(body), [])
    assert loaded.inputs[0].data == data
    assert not buffers
