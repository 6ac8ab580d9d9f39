"""Which requests may travel as their JSON."""

from __future__ import annotations

import pytest

from mlsrv_protocol.encoded import encoded_request

INPUTS = b'"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]'


@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        (b"{" + INPUTS + b"}", None),
        (b'{"id":"a 1",' + INPUTS + b"}", "a 1"),
        (b' {\n"id" : "x" ,' + INPUTS + b"}", "x"),
        (b'{"id":"7"}', "7"),
        (b"[1, 2", None),
        (b"", None),
    ],
)
def test_a_request_without_parameters_travels_as_it_is(body: bytes, request_id: str | None) -> None:
    made = encoded_request(bytearray(body), "m", "2")
    assert made is not None
    assert (made.body, made.id, made.model_name, made.model_version) == (body, request_id, "m", "2")
    assert type(made.body) is bytes


@pytest.mark.parametrize(
    "body",
    [
        b'{"parameters":{},' + INPUTS + b"}",
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1],"parameters":{"a":1}}]}',
        b"{" + INPUTS + b',"id":"later"}',
        b'{"id":"a","id":"b",' + INPUTS + b"}",
        b'{"id":5,' + INPUTS + b"}",
        b'{"id":null,' + INPUTS + b"}",
        b'{"id":"",' + INPUTS + b"}",
        b'{"id":"' + b"a" * 201 + b'",' + INPUTS + b"}",
        b'{"id":"\xc3\xa4",' + INPUTS + b"}",
        b'{"id":"a\\u0041",' + INPUTS + b"}",
        b'{"p\\u0061rameters":{},' + INPUTS + b"}",
        b'{"inputs":[{"name":"id","shape":[1],"datatype":"FP32","data":[1]}]}',
    ],
)
def test_any_other_request_is_decoded_first(body: bytes) -> None:
    assert encoded_request(body, "m", None) is None
