"""Every content type survives every wire form: JSON, binary tensors, gRPC with raw and with typed
contents."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from mlsrv.codecs import Base64Codec, DatetimeCodec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlsrv.codecs.string import StringRequestCodec
from mlsrv.types import InferenceRequest, InferenceResponse
from mlsrv_protocol import binary, json
from mlsrv_protocol.grpc import inference as grpc
from payloads import arrays, assert_same_frame, frames, lists_of_bytes, lists_of_dates, lists_of_texts


def over_json(message: Any) -> Any:
    if isinstance(message, InferenceRequest):
        return json.decode_request(json.encode_request(message))
    return json.decode_response(json.encode_response(message))


def over_binary(message: Any) -> Any:
    if isinstance(message, InferenceRequest):
        length, pieces = binary.encode_request(message)
        return binary.decode_request(b"".join(pieces), length)
    length, pieces = binary.encode_response(message, {output.name for output in message.outputs})
    return binary.decode_response(b"".join(pieces), length)


def over_grpc(message: Any) -> Any:
    if isinstance(message, InferenceRequest):
        return grpc.decode_request(grpc.encode_request(message))[0]
    return grpc.decode_response(grpc.encode_response(message))


def over_typed_grpc(message: Any) -> Any:
    if isinstance(message, InferenceRequest):
        return grpc.decode_request(grpc.encode_request(message, typed=True))[0]
    return grpc.decode_response(grpc.encode_response(message, typed=True))


Wire = Callable[[Any], Any]
each_wire = pytest.mark.parametrize("wire", [over_json, over_binary, over_grpc, over_typed_grpc])
patient = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@each_wire
@patient
@given(payload=arrays)
def test_arrays(wire: Wire, payload: np.ndarray[Any, Any]) -> None:
    sent = InferenceRequest([NumpyCodec.encode_input("x", payload)], model_name="m")
    answered = NumpyRequestCodec.encode_response("m", payload)
    for found in (
        NumpyCodec.decode_input(wire(sent).inputs[0]),
        NumpyRequestCodec.decode_response(wire(answered)),
    ):
        assert found.dtype == payload.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, payload)


@each_wire
@patient
@given(payload=lists_of_texts)
def test_texts(wire: Wire, payload: list[str]) -> None:
    sent = StringRequestCodec.encode_request(payload)
    sent.model_name = "m"
    assert StringRequestCodec.decode_request(wire(sent)) == payload
    answered = InferenceResponse("m", [StringCodec.encode_output("y", payload)])
    assert StringCodec.decode_output(wire(answered).outputs[0]) == payload


@each_wire
@patient
@given(payload=lists_of_bytes)
def test_bytes(wire: Wire, payload: list[bytes]) -> None:
    sent = InferenceRequest([Base64Codec.encode_input("x", payload)], model_name="m")
    assert Base64Codec.decode_input(wire(sent).inputs[0]) == payload


@each_wire
@patient
@given(payload=lists_of_dates)
def test_dates(wire: Wire, payload: list[datetime]) -> None:
    sent = InferenceRequest([DatetimeCodec.encode_input("x", payload)], model_name="m")
    found = DatetimeCodec.decode_input(wire(sent).inputs[0])
    assert [date.isoformat() for date in found] == [date.isoformat() for date in payload]


@each_wire
@patient
@given(frame=frames())
def test_frames(wire: Wire, frame: pd.DataFrame) -> None:
    sent = PandasCodec.encode_request(frame)
    sent.model_name = "m"
    for found in (
        PandasCodec.decode_request(wire(sent)),
        PandasCodec.decode_response(wire(PandasCodec.encode_response("m", frame))),
    ):
        assert_same_frame(found, frame)
