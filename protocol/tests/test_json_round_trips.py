"""JSON round trips: tensors come out of the wire form as they went in."""

import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv_protocol import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    ResponseOutput,
)
from mlsrv_protocol.datatypes import bf16_to_float32
from mlsrv_protocol.json import (
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)

ELEMENTS: dict[Datatype, st.SearchStrategy[Any]] = {
    Datatype.BOOL: st.booleans(),
    Datatype.FP16: st.floats(width=16),
    Datatype.FP32: st.floats(width=32),
    Datatype.FP64: st.floats(),
    Datatype.BF16: st.integers(0, 2**16 - 1),
    Datatype.BYTES: st.text(),
} | {
    datatype: st.integers(int(datatype.lowest), int(datatype.highest))
    for datatype in Datatype
    if datatype.is_integer
}


@st.composite
def tensors(draw: st.DrawFn, datatype: Datatype) -> ResponseOutput:
    """Any tensor of a datatype: scalar, without elements, small, or large enough for the short cut."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    count = math.prod(shape)
    elements = draw(st.lists(ELEMENTS[datatype], min_size=count, max_size=count))
    repeat = draw(st.sampled_from([1, 1, 100]))
    shape, elements = [repeat, *shape], elements * repeat
    data: Any = elements
    if datatype.dtype is not None:
        data = np.array(elements, dtype=datatype.dtype).reshape(
            draw(st.sampled_from([shape, [-1]])) if elements else shape
        )
    return ResponseOutput(name="y", shape=shape, datatype=datatype, data=data)


def same(left: ResponseOutput | RequestInput, right: ResponseOutput | RequestInput) -> bool:
    if left.shape != right.shape or left.datatype is not right.datatype:
        return False
    if left.datatype is Datatype.BYTES:
        return bool(left.data == right.data)
    a, b = np.asarray(left.data).reshape(-1), np.asarray(right.data).reshape(-1)
    if left.datatype is Datatype.BF16:
        a, b = bf16_to_float32(a), bf16_to_float32(b)
    nan = np.isnan(a) if a.dtype.kind == "f" else np.zeros(a.shape, bool)
    # Bytes tell 0.0 from -0.0.
    return bool(a.dtype == b.dtype and (np.isnan(b[nan])).all() and a[~nan].tobytes() == b[~nan].tobytes())


@pytest.mark.parametrize("datatype", Datatype)
@given(data=st.data())
def test_a_response_survives_the_wire(datatype: Datatype, data: st.DataObject) -> None:
    tensor = data.draw(tensors(datatype))
    text = encode_response(InferenceResponse(model_name="m", model_version="v", id="i", outputs=[tensor]))
    orjson.loads(text)  # strict JSON
    back = decode_response(text)
    assert (back.model_name, back.model_version, back.id) == ("m", "v", "i")
    assert same(back.outputs[0], tensor)
    assert decode_response(encode_response(back)) == back


@pytest.mark.parametrize("datatype", Datatype)
@given(data=st.data())
def test_a_nested_request_survives_the_wire(datatype: Datatype, data: st.DataObject) -> None:
    """As clients send it that know no rules for non-finite numbers: nested, with bare literals."""
    tensor = data.draw(tensors(datatype))
    plain: Any = tensor.data
    if datatype is Datatype.BF16:
        plain = bf16_to_float32(plain)
    if isinstance(plain, np.ndarray):
        nested = plain.reshape(tensor.shape).tolist()
    else:
        nested = np.array(plain, dtype=object).reshape(tensor.shape).tolist()
    fields = {"name": "x", "shape": tensor.shape, "datatype": tensor.datatype, "data": nested}
    for ascii_only in (True, False):
        text = json.dumps({"inputs": [fields]}, ensure_ascii=ascii_only).encode()
        assert same(decode_request(text).inputs[0], tensor)
    request = InferenceRequest(inputs=[fields])
    assert same(decode_request(encode_request(request)).inputs[0], tensor)
