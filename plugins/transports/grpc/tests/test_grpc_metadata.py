"""Metadata and headers."""

from __future__ import annotations

import pytest

from mlsrv_grpc.metadata import request_headers, trailing_metadata
from mlsrv_protocol import InvalidOutput


def test_headers_of_a_call() -> None:
    assert request_headers((("a", "1"), ("b-bin", b"\xff"), ("a", "2"))) == {"a": "2", "b-bin": "/w=="}
    assert request_headers(None) == {}


def test_headers_of_a_model() -> None:
    headers = {"X-A": " 1 ", "b-bin": "/w==", "Content-Type": "x", "grpc-status": "0", "te": "x"}
    assert trailing_metadata(headers) == {"x-a": "1", "b-bin": b"\xff"}


@pytest.mark.parametrize(
    ("name", "value"), [("a b", "1"), ("", "1"), ("é", "1"), ("a", "1\n2"), ("a", "é"), ("a-bin", "%")]
)
def test_impossible_headers(name: str, value: str) -> None:
    with pytest.raises(InvalidOutput, match="cannot carry"):
        trailing_metadata({name: value})
