"""ModelInfer over a real connection."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsrv.context import CallContext
from mlsrv.errors import Overloaded
from mlsrv.settings import ModelSettings
from mlsrv_protocol import json
from mlsrv_protocol.datatypes import Datatype, bf16_to_float32
from mlsrv_protocol.grpc import encode_request, message_class
from mlsrv_protocol.types import InferenceRequest, Parameters, RequestInput

Response = message_class("inference.ModelInferResponse")
SECONDS = 20


def tensor(values: Any, datatype: str = "FP32", name: str = "x") -> RequestInput:
    data = values if datatype == "BYTES" else np.array(values, np.float32)
    return RequestInput(name=name, shape=[len(values)], datatype=datatype, data=data)


def request(model: str, *inputs: RequestInput, version: str | None = None, **fields: Any) -> InferenceRequest:
    """A request to a model, with one FP32 input if none is given."""
    found = list(inputs) or [tensor([1.0, 2.0])]
    return InferenceRequest(inputs=found, model_name=model, model_version=version, **fields)


def refused(served: Any, asked: InferenceRequest | bytes, **options: Any) -> Any:
    """The error that a request ends with."""
    body = asked if isinstance(asked, bytes) else encode_request(asked)
    with pytest.raises(grpc.RpcError) as caught:
        served.method("ModelInfer")(body, **{"timeout": SECONDS} | options)
    assert "Traceback" not in caught.value.details()
    return caught.value


def status(served: Any, asked: InferenceRequest | bytes, **options: Any) -> tuple[grpc.StatusCode, str]:
    error = refused(served, asked, **options)
    return error.code(), error.details()


def test_the_reply_mirrors_the_request(served: Any) -> None:
    inputs = [tensor([1.0, 2.0]), tensor([b"a", b""], "BYTES", "s")]
    for typed in (False, True):
        body = served.method("ModelInfer")(encode_request(request("echo", *inputs), typed=typed))
        answer = Response.FromString(body)
        assert len(answer.raw_output_contents) == (0 if typed else 2)
        assert [output.HasField("contents") for output in answer.outputs] == [typed, typed]
    body = served.method("ModelInfer")(encode_request(InferenceRequest([], model_name="echo")))
    assert Response.FromString(body).model_name == "echo"


VALUES: dict[Datatype, st.SearchStrategy[Any]] = {
    Datatype.BOOL: st.booleans(),
    Datatype.FP16: st.floats(width=16),
    Datatype.FP32: st.floats(width=32),
    Datatype.FP64: st.floats(),
    Datatype.BF16: st.integers(0, 2**16 - 1),
    Datatype.BYTES: st.text(max_size=10),
}


@pytest.mark.parametrize("datatype", Datatype)
@settings(max_examples=15)
@given(data=st.data())
def test_a_round_trip_equals_that_over_json(served: Any, datatype: Datatype, data: st.DataObject) -> None:
    if datatype.is_integer:
        info = np.iinfo(datatype.dtype)
        values: st.SearchStrategy[Any] = st.integers(int(info.min), int(info.max))
    else:
        values = VALUES[datatype]
    found: Any = data.draw(st.lists(values, max_size=5))
    if datatype is not Datatype.BYTES:
        found = np.array(found, datatype.dtype)
    sent = RequestInput("x", [len(found)], datatype, found)

    plain = json.decode_request(json.encode_request(InferenceRequest([sent])))
    plain.model_name = "echo"
    context = CallContext(transport="rest")
    over_json = json.decode_response(json.encode_response(served.do(served.kernel.infer(plain, context))))
    for typed in (False, True):
        over_grpc = served.infer(request("echo", sent), typed=typed)
        assert json.dumps(over_grpc.outputs) == json.dumps(over_json.outputs)
        if datatype is Datatype.BF16:
            answered = bf16_to_float32(over_grpc.outputs[0].data)
            np.testing.assert_array_equal(answered, bf16_to_float32(over_json.outputs[0].data))


def test_versions(served: Any) -> None:
    assert served.infer(request("versioned")).model_version == "v10"
    assert served.infer(request("versioned", version="v9")).model_version == "v9"
    assert served.infer(request("echo")).model_version is None


def test_ids(served: Any) -> None:
    assert served.infer(request("echo", id="é 7")).id == "é 7"
    made = {served.infer(request("echo")).id for _ in range(3)}
    assert len(made) == 3
    assert all(made)
    assert served.infer(request("echo"), metadata=[("x-request-id", "mine")]).id == "mine"
    assert served.infer(request("echo", id="7"), metadata=[("x-request-id", "mine")]).id == "7"


def test_metadata_become_headers(served: Any) -> None:
    metadata = [("x-one", "1"), ("traceparent", "00-a-b-01"), ("data-bin", b"\x00\xff")]
    asked = request("asked", parameters=Parameters(mine=2))
    seen = served.infer(asked, metadata=metadata).parameters
    assert seen is not None
    assert seen.get("header_x-one") == "1"
    assert seen.get("header_data-bin") == "AP8="
    assert seen.get("header_user-agent").startswith("grpc-python")
    assert seen.get("parameter_mine") == 2
    assert (seen.trace, seen.transport) == ("00-a-b-01", "grpc")
    assert seen.seen_id == seen.context_id


def test_headers_become_trailing_metadata(served: Any) -> None:
    pairs = [b"X-One", b"1", b"data-bin", b"AP8=", b"content-type", b"text/plain", b"grpc-status", b"7"]
    body = encode_request(request("headers", tensor(pairs, "BYTES")))
    answer, call = served.method("ModelInfer").with_call(body, timeout=SECONDS)
    assert {(key, value) for key, value in call.trailing_metadata() if key in ("x-one", "data-bin")} == {
        ("x-one", "1"),
        ("data-bin", b"\x00\xff"),
    }
    parameters = Response.FromString(answer).parameters
    assert {key: value.string_param for key, value in parameters.items()} == {"kept": "yes"}


@pytest.mark.parametrize("pair", [(b"a b", b"1"), (b"a", b"1\n2"), (b"a", "é".encode()), (b"a-bin", b"?")])
def test_headers_that_cannot_be(served: Any, pair: tuple[bytes, bytes]) -> None:
    code, details = status(served, request("headers", tensor(pair, "BYTES")))
    assert code is grpc.StatusCode.INTERNAL
    assert "cannot carry" in details


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        (b"\xff", grpc.StatusCode.INVALID_ARGUMENT, "not a ModelInferRequest"),
        (b"\x0a\x01\xff", grpc.StatusCode.INVALID_ARGUMENT, "UTF-8"),
        (request(""), grpc.StatusCode.INVALID_ARGUMENT, "model_name is empty"),
        (request("nope"), grpc.StatusCode.NOT_FOUND, "Model nope not found"),
        (request("echo", version="7"), grpc.StatusCode.NOT_FOUND, "Model echo with version 7 not found"),
        (request("declared"), grpc.StatusCode.INVALID_ARGUMENT, "shape [2] was sent"),
        (
            request("echo", parameters=Parameters(sequence_id=7)),
            grpc.StatusCode.INVALID_ARGUMENT,
            "sequences are not supported",
        ),
        (request("failing"), grpc.StatusCode.INTERNAL, "ValueError: this model always fails"),
        (request("counting"), grpc.StatusCode.UNIMPLEMENTED, "streams"),
        (request("cancelled"), grpc.StatusCode.INTERNAL, "CancelledError"),
        (request("unsendable"), grpc.StatusCode.INTERNAL, 'outputs[0] "y": data has 1 element'),
    ],
)
def test_failures(served: Any, asked: InferenceRequest | bytes, code: grpc.StatusCode, says: str) -> None:
    found, details = status(served, asked)
    assert found is code
    assert says in details


def test_long_details_are_truncated(served: Any) -> None:
    details = status(served, request("talkative"))[1]
    assert 100 < len(details) < 2500


def test_a_model_that_is_not_ready(serve: Any) -> None:
    served = serve()
    served.ask("RepositoryModelUnload", model_name="echo")
    code, details = status(served, request("echo"))
    assert (code, details) == (grpc.StatusCode.UNAVAILABLE, "Model echo is not ready (UNAVAILABLE)")


def test_the_parameter_between_client_and_server(served: Any) -> None:
    name = "triton_enable_empty_final_response"
    seen = served.infer(request("asked", parameters=Parameters(**{name: True}, other=1))).parameters
    assert seen is not None
    assert seen.get(f"parameter_{name}") is None
    assert seen.get("parameter_other") == 1


def test_overload_tells_when_to_try_again(served: Any, blocking: Any) -> None:
    body = encode_request(request("blocking"))
    calls = [served.method("ModelInfer").future(body, timeout=SECONDS) for _ in range(2)]
    for _ in calls:
        served.do(blocking.started.acquire())
    error = refused(served, body)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    pushback = str(int(Overloaded.retry_after * 1000))
    assert ("grpc-retry-pushback-ms", pushback) in list(error.trailing_metadata())
    served.loop.call_soon_threadsafe(blocking.go_on.set)
    for call in calls:
        assert call.code() is grpc.StatusCode.OK


async def happened(event: asyncio.Event) -> None:
    async with asyncio.timeout(SECONDS):
        await event.wait()


def test_a_client_that_gives_up_stops_the_model(serve: Any, blocking: Any) -> None:
    served = serve()
    call = served.method("ModelInfer").future(encode_request(request("blocking")), timeout=SECONDS)
    served.do(blocking.started.acquire())
    call.cancel()
    served.do(happened(blocking.cancelled))


def test_a_deadline_reaches_the_model_and_ends_it(serve: Any, blocking: Any) -> None:
    served = serve(request_timeout=None)
    assert served.infer(request("asked"), timeout=None).parameters.get("seconds") == -1.0
    assert 0 < served.infer(request("asked"), timeout=30).parameters.get("seconds") < 31
    assert refused(served, request("blocking"), timeout=2).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    served.do(happened(blocking.cancelled))


def test_the_deadline_that_a_request_asks_for(serve: Any, blocking: Any) -> None:
    served = serve()
    code, details = status(served, request("blocking", parameters=Parameters(timeout=1_000_000)))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "blocking did not answer before the deadline" in details
    served.do(happened(blocking.cancelled))


@pytest.mark.parametrize("typed", [False, True])
def test_twenty_megabytes_each_way(served: Any, typed: bool) -> None:
    array = np.random.default_rng(1).random(5 * 2**20, np.float32)
    sent = RequestInput("x", [5, 2**20], "FP32", array)
    (output,) = served.infer(request("echo", sent), typed=typed).outputs
    assert output.shape == [5, 2**20]
    assert np.array_equal(output.data, array)


def test_many_strings(served: Any) -> None:
    texts = [b"%d" % number for number in range(200_000)]
    for typed in (False, True):
        (output,) = served.infer(request("echo", tensor(texts, "BYTES")), typed=typed).outputs
        assert output.data == texts


def test_compressed_messages(served: Any) -> None:
    sent = tensor(np.zeros(10_000))
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        (output,) = served.infer(request("echo", sent), compression=compression).outputs
        assert np.array_equal(output.data, sent.data)


def test_a_limit_for_messages(serve: Any) -> None:
    served = serve(grpc_max_message_length=100_000)
    assert served.infer(request("echo", tensor(np.zeros(20_000)))).outputs
    code, details = status(served, request("echo", tensor(np.zeros(30_000))))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in details


def test_a_limit_for_calls(serve: Any, blocking: Any) -> None:
    served = serve([ModelSettings(name="blocking", implementation=blocking)], grpc_max_concurrent_calls=2)
    method, body = served.method("ModelInfer"), encode_request(request("blocking"))
    running = [method.future(body, timeout=SECONDS) for _ in range(2)]
    for _ in running:
        served.do(blocking.started.acquire())
    further = [method.future(body, timeout=SECONDS) for _ in range(3)]
    end = time.monotonic() + SECONDS
    while len(done := [call for call in further if call.done()]) < 2:  # old grpcio lets one more in
        assert time.monotonic() < end
        time.sleep(0.01)
    assert {call.code() for call in done} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    served.loop.call_soon_threadsafe(blocking.go_on.set)
    assert [call.code() for call in running] == [grpc.StatusCode.OK] * 2
    # A client has its answer a moment before the server has done with the call.
    while (code := method.future(body).code()) is not grpc.StatusCode.OK:
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert time.monotonic() < end


def test_many_calls_at_once(served: Any) -> None:
    method = served.method("ModelInfer")
    calls = [method.future(encode_request(request("echo", id=str(n))), timeout=SECONDS) for n in range(300)]
    assert [Response.FromString(call.result()).id for call in calls] == [str(n) for n in range(300)]
