"""JSON size: a text with very many values is refused before it is parsed."""

import time

import pytest

from mlsrv_protocol import InvalidPayload, json_size
from mlsrv_protocol.binary import decode_request as decode_binary_request
from mlsrv_protocol.json import decode_json_object, decode_request, decode_response
from mlsrv_protocol.json_size import MAX_CONTAINERS, MAX_KEYS, check_json_size
from mlsrv_protocol.validation import MAX_PARAMETER_VALUES

MANY = MAX_CONTAINERS + 1
GOOD = b'"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1]}]'


@pytest.mark.parametrize("container", [b"[]", b"{}", b"[[[]]]", b"[{}]", b" [ ] "])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (b'{"zz":[', b"]," + GOOD + b"}"),
        (b'{"parameters":{"a":[', b"]}," + GOOD + b"}"),
        (b'{"inputs":[', b"]}"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[', b"]}]}"),
    ],
)
def test_too_many_containers_are_refused_before_the_text_is_parsed(
    start: bytes, end: bytes, container: bytes
) -> None:
    body = start + b",".join([container] * MANY) + end
    for decode in (decode_request, decode_json_object):
        began = time.process_time()
        with pytest.raises(InvalidPayload, match="more than 1048576 arrays and objects"):
            decode(body)
        assert time.process_time() - began < 1
    with pytest.raises(InvalidPayload, match="more than 1048576 arrays and objects"):
        decode_binary_request(body, len(body))


def test_responses_that_a_client_reads_may_have_more() -> None:
    rows = b",".join([b"[1]"] * MANY)
    body = (
        b'{"model_name":"m","outputs":[{"name":"x","shape":[%d,1],"datatype":"INT64","data":[' % MANY
        + rows
        + b"]}]}"
    )
    assert decode_response(body).outputs[0].data.size == MANY


@pytest.mark.parametrize(
    "text",
    [b"[{,", b'[\\"[', b'\\\\\\"{', b"[" * 30 + b"\\\\", b'\\u005b[,\\"'],
    ids=["plain", "quotes", "backslashes", "a backslash at the end", "escapes"],
)
@pytest.mark.parametrize("shift", range(3))
def test_brackets_in_strings_do_not_count(text: bytes, shift: int) -> None:
    element = b'"' + text + b'"'
    count = 3 * MAX_CONTAINERS // len(element) + MAX_CONTAINERS // 8
    body = b"[" + b" " * shift + b",".join([element] * count) + b"]"
    assert body.count(b"[") + body.count(b"{") > 1
    check_json_size(body)
    with pytest.raises(InvalidPayload):
        check_json_size(body + b",".join([b"[]"] * MANY))


@pytest.mark.parametrize(
    "body",
    [
        b'{"parameters":{' + b",".join(b'"%x":1' % i for i in range(MAX_KEYS)) + b"}," + GOOD + b"}",
        b'{"zz":[' + b'{"a":1},' * MAX_KEYS + b"{}]," + GOOD + b"}",
        b'{"inputs":[' + b'{"name":"x"},' * MAX_KEYS + b"{}]}",
        b'{"x" : 1,' + b'"":1,' * MAX_KEYS + GOOD + b"}",
    ],
    ids=["parameters", "objects", "inputs", "the same key"],
)
def test_too_many_keys_are_refused_before_the_text_is_parsed(body: bytes) -> None:
    for decode in (decode_request, decode_json_object):
        began = time.process_time()
        with pytest.raises(InvalidPayload, match="more than 262144 keys"):
            decode(body)
        assert time.process_time() - began < 1
    inside = b'{"zz":"' + body.replace(b'"', b'\\"') + b'",' + GOOD + b"}"
    assert decode_request(inside).inputs[0].name == "x"


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_size, "MAX_VALUES", 2**20)
    with pytest.raises(InvalidPayload, match="more than 1048576 values"):
        decode_request(b'{"zz":[' + b"0," * (2**20 + 1) + b"0]," + GOOD + b"}")
    decode_request(b'{"zz":"' + b"0," * (2**20 + 1) + b'",' + GOOD + b"}")


@pytest.mark.parametrize(
    "parameters",
    [
        b'{"a":[' + b",".join([b"[]"] * MAX_PARAMETER_VALUES) + b"]}",
        b'{"a":[' + b",".join([b"1"] * MAX_PARAMETER_VALUES) + b"]}",
        b"{" + b",".join(b'"%d":1' % i for i in range(MAX_PARAMETER_VALUES + 1)) + b"}",
        b'{"a":{' + b",".join(b'"%d":1' % i for i in range(MAX_PARAMETER_VALUES)) + b"}}",
    ],
    ids=["arrays", "numbers", "keys", "nested keys"],
)
def test_parameters_are_bounded(parameters: bytes) -> None:
    with pytest.raises(InvalidPayload, match="parameters hold more than 65536 values"):
        decode_request(b'{"parameters":' + parameters + b"," + GOOD + b"}")
    tensor = b'{"name":"x","shape":[1],"datatype":"FP32","data":[1],"parameters":' + parameters + b"}"
    with pytest.raises(InvalidPayload, match="parameters hold more than 65536 values"):
        decode_request(b'{"inputs":[' + tensor + b"]}")
