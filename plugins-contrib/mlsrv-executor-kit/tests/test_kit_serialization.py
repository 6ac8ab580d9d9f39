"""Serialization: requests and responses through a frame."""

import pickle
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsrv.authorization import Principal
from mlsrv.context import CallContext
from mlsrv.errors import InvalidPayload
from mlsrv.executor import ModelInfo
from mlsrv.handlers import HandlerOptions
from mlsrv.timeline import Timeline
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.plain_data import load_plain
from mlsrv_executor_kit.plain_values import dump
from mlsrv_executor_kit.serialization import BUFFER_THRESHOLD
from mlsrv_protocol.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)

NUMERIC = [datatype for datatype in Datatype if datatype.dtype is not None]


def through(
    plain: tuple[Any, ...], buffers: serialization.Buffers
) -> tuple[tuple[Any, ...], list[memoryview]]:
    """Return the values and views that arrive at the other end."""
    return pickle.loads(dump(plain)), [memoryview(bytearray(array.tobytes())) for array in buffers]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool(
            one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        )
    return bool(one == other)


tensors = st.builds(
    lambda datatype, shape, seed: (
        datatype,
        list(shape),
        np.random.default_rng(seed).integers(0, 2, shape).astype(datatype.dtype),
    ),
    st.sampled_from(NUMERIC),
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    st.integers(0, 99),
)


@given(st.lists(tensors, max_size=4), st.none() | st.text(), st.none() | st.lists(st.text(), max_size=2))
def test_requests_round_trip(values: list[Any], request_id: str | None, outputs: list[str] | None) -> None:
    request = InferenceRequest(
        inputs=[
            RequestInput(f"i{index}", shape, datatype, data, parameters=Parameters(content_type="np"))
            for index, (datatype, shape, data) in enumerate(values)
        ],
        id=request_id,
        parameters=Parameters(own={"a": [1, 2]}),
        outputs=None if outputs is None else [RequestOutput(name) for name in outputs],
        model_name="m",
        model_version="2",
    )
    buffers: serialization.Buffers = []
    back = serialization.load_request(*through(serialization.dump_request(request, buffers), buffers))
    assert (back.id, back.outputs, back.model_name, back.model_version) == (
        request_id,
        request.outputs,
        "m",
        "2",
    )
    assert back.parameters == request.parameters
    for sent, got in zip(request.inputs, back.inputs, strict=True):
        assert (sent.name, sent.shape, sent.datatype, sent.parameters) == (
            got.name,
            got.shape,
            got.datatype,
            got.parameters,
        )
        assert same(sent.data, got.data)


@pytest.mark.parametrize(
    "data",
    [
        [b"\x00\xff", b""],
        ["ä", "b"],
        [1.5, 2.5],
        np.array(["a", "b"], dtype=object),
        np.array([b"a", b"bc"]),
        np.arange(4.0).reshape(2, 2).T,
        np.arange(10)[::3],
        np.array([1, 2], dtype=">i4"),
        np.arange(2 * BUFFER_THRESHOLD, dtype=np.uint8).reshape(2, -1).T,
    ],
)
def test_data_of_responses_round_trips(data: Any) -> None:
    response = InferenceResponse("m", [ResponseOutput("o", [2], Datatype.BYTES, data)], "1", "id")
    buffers: serialization.Buffers = []
    (plain,) = load_plain(serialization.dump_response(response, buffers))
    back = serialization.load_response(*through(plain, buffers))
    assert (back.model_name, back.model_version, back.id) == ("m", "1", "id")
    got = back.outputs[0].data
    assert np.array_equal(got, data)
    assert [type(item) for item in got] == [
        type(item)
        for item in (
            data.tolist() if isinstance(data, np.ndarray) and data.dtype.kind not in "biuf" else data
        )
    ]


@pytest.mark.parametrize("size", [3, BUFFER_THRESHOLD])
def test_arrays_can_be_written_to_and_are_aligned(size: int) -> None:
    request = InferenceRequest([RequestInput("i", [size], Datatype.FP64, np.zeros(size))])
    request.inputs[0].data.flags.writeable = False
    buffers: serialization.Buffers = []
    data = (
        serialization.load_request(*through(serialization.dump_request(request, buffers), buffers))
        .inputs[0]
        .data
    )
    assert data.flags.writeable
    assert data.flags.aligned


def test_an_unknown_datatype_is_refused() -> None:
    output = ResponseOutput("o", [1], Datatype.FP64, np.zeros(1))
    output.datatype = "FP65"  # type: ignore[assignment]  # models may
    (plain,) = load_plain(serialization.dump_response(InferenceResponse("m", [output]), []))
    with pytest.raises(InvalidPayload, match='"FP65" is not a datatype'):
        serialization.load_response(plain, [])


def test_no_class_of_numpy_is_pickled() -> None:
    request = InferenceRequest([RequestInput("i", [2], Datatype.BYTES, np.array([b"a", b"b"], dtype=object))])
    buffers: serialization.Buffers = [np.zeros(2)]
    assert b"numpy" not in dump(serialization.dump_request(request, buffers))


def test_contexts_and_declared_tensors_round_trip() -> None:
    context = CallContext("id", 123.5, 2, {"a": "b"}, {"traceparent": "00-1-2-01"}, "rest")
    back = serialization.load_context(serialization.dump_context(context))
    assert [getattr(back, name) for name in ("request_id", "deadline", "priority", "transport")] == [
        "id",
        123.5,
        2,
        "rest",
    ]
    assert (dict(back.headers), dict(back.trace)) == ({"a": "b"}, {"traceparent": "00-1-2-01"})
    assert back.principal is None
    declared = (MetadataTensor("x", Datatype.FP32, [-1, 4], Parameters(content_type="np")),)
    assert serialization.load_metadata(serialization.dump_metadata(declared)) == declared


def test_of_a_principal_its_name_alone_is_sent() -> None:
    context = CallContext(principal=Principal("robot", {"infer": ["*"]}))
    back = serialization.load_context(serialization.dump_context(context))
    assert back.principal is not None
    assert (back.principal.name, dict(back.principal.rights)) == ("robot", {})


def test_links_of_a_batch_and_spans_of_observed_calls_are_sent() -> None:
    members = [CallContext("a", trace={"traceparent": "x"}), CallContext("untraced")]
    batch = CallContext(links=members, timeline=Timeline())
    (plain,), _ = through((serialization.dump_context(batch),), [])
    there = serialization.load_context(plain)
    assert [(link.request_id, link.trace) for link in there.links] == [("a", {"traceparent": "x"})]
    assert there.timeline is not None
    there.timeline.add("predict", 1, 5)
    (spans,), _ = through((serialization.dump_timeline(there),), [])
    serialization.load_timeline(spans, batch)
    assert batch.timeline is not None
    assert batch.timeline.spans == [("predict", 1, 5)]
    unobserved = serialization.load_context(serialization.dump_context(CallContext()))
    assert serialization.dump_timeline(unobserved) is None
    serialization.load_timeline(spans, unobserved)
    assert unobserved.timeline is None


def test_model_descriptions_round_trip() -> None:
    declared = (MetadataTensor("x", Datatype.FP32, [-1, 4]),)
    handlers = {"look": HandlerOptions("/look", "GET", False, True, True)}
    parameters = Parameters(params=[{"name": "scale", "default": 1.0}])
    info = ModelInfo(
        "sklearn", ("1", "2"), declared, (), parameters, streams=True, asynchronous=True, handlers=handlers
    )
    (plain,), _ = through((serialization.dump_info(info),), [])
    assert serialization.load_info(plain, 3) == attrs.evolve(info, replicas=3)
