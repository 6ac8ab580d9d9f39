"""Clients that do not read: their calls end, and others go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc
import h2.events
import numpy as np
import pytest

from mlsrv import MLModel, ModelSettings
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput
from mlsrv_protocol.grpc import INFERENCE, encode_request

SECONDS = 20


class Large(MLModel):
    """Answers with 400 KB."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data = np.zeros(50_000)
        return InferenceResponse(outputs=[ResponseOutput("y", [len(data)], "FP64", data)])


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
def test_the_connection_of_a_client_that_does_not_read_is_closed(
    serve: Any, open_call: Any, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    served = serve([ModelSettings(name="large", implementation=Large)], grpc_send_timeout=0.3)
    request = tensor_request("large", np.zeros(1))
    body = encode_request(request)
    with open_call(served.target, method, body, end=method == "ModelInfer") as (client, connection):
        received = 0
        while found := client.recv(2**16):
            for event in connection.receive_data(found):
                if isinstance(event, h2.events.DataReceived):
                    received += len(event.data)  # and its window stays closed
            client.sendall(connection.data_to_send())
        assert received <= 2**16
        assert "its client does not read an answer" in caplog.text
        # Others, also patient ones, have their answers.
        assert served.infer(request).outputs[0].shape == [50_000]


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
def test_answers_that_wait_leave_no_room_for_others(serve: Any, open_call: Any, method: str) -> None:
    model = ModelSettings(name="large", implementation=Large)
    served = serve([model], grpc_send_timeout=60, grpc_max_unsent_bytes=500_000)
    request = tensor_request("large", np.zeros(1))
    body = encode_request(request)
    assert served.infer(request).outputs[0].shape == [50_000]
    with open_call(served.target, method, body, end=method == "ModelInfer") as (client, connection):
        received = 0
        while received < 20_000:  # and it reads no further
            for event in connection.receive_data(client.recv(2**14)):
                received += len(event.data) if isinstance(event, h2.events.DataReceived) else 0
            client.sendall(connection.data_to_send())
        with pytest.raises(grpc.RpcError) as caught:
            served.infer(request)
        stream = served.channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")
        with pytest.raises(grpc.RpcError) as streamed:
            list(stream(iter([body]), timeout=SECONDS))
    for error in (caught.value, streamed.value):
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "bytes of answers are already waiting" in error.details()
        assert "grpc-retry-pushback-ms" in dict(error.trailing_metadata())
    end = time.monotonic() + SECONDS
    while True:  # until the server knows that the client has gone
        try:
            assert served.infer(request).outputs[0].shape == [50_000]
            break
        except grpc.RpcError:
            assert time.monotonic() < end


def test_answers_of_a_stream_count_while_they_wait_for_their_turn(serve: Any, open_call: Any) -> None:
    model = ModelSettings(name="large", implementation=Large)
    served = serve([model], grpc_send_timeout=60, grpc_max_unsent_bytes=1_900_000)
    request = tensor_request("large", np.zeros(1))
    body = encode_request(request)
    with open_call(served.target, "ModelStreamInfer", body, end=False) as (client, connection):
        for _ in range(3):
            connection.send_data(1, b"\0" + len(body).to_bytes(4, "big") + body)
        client.sendall(connection.data_to_send())  # and it reads nothing
        wait_for(lambda: held(served) > 4 * 400_000)
        call = served.method("ModelInfer").future(body, timeout=SECONDS)
        assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    wait_for(lambda: held(served) == 0)
    assert served.infer(request).outputs[0].shape == [50_000]


def held(served: Any) -> int:
    """The bytes of answers that count."""
    return int(served.kernel.transports["grpc"]._services.router.delivery.held_bytes)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
