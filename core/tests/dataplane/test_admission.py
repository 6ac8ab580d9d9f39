"""Admission: limits of one model and of all models, in requests and in bytes."""

import pickle

import numpy as np
import pytest

from mlsrv.dataplane.admission import Admission, size_of, size_of_arguments
from mlsrv.errors import Code, Overloaded, TooLarge
from mlsrv.handlers import HandlerRequest
from mlsrv.types import RequestInput


def refusal(admission: Admission, size: int = 0) -> tuple[str, str]:
    with pytest.raises(Overloaded) as caught:
        admission.enter(size)
    assert caught.value.code is Code.OVERLOADED
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.reason == caught.value.reason
    return caught.value.reason, str(caught.value)


def test_requests_are_limited() -> None:
    admission = Admission("Model m", "model", 2, 100)
    admission.enter(0)
    admission.enter(0)
    assert refusal(admission) == (
        "model_requests",
        "Model m is overloaded: 2 requests are already waiting or running; try again later.",
    )
    admission.leave(0)
    admission.enter(0)


def test_bytes_are_limited() -> None:
    admission = Admission("Model m", "model", 10, 100)
    admission.enter(60)
    assert refusal(admission, 41) == (
        "model_bytes",
        "Model m is overloaded: 60 bytes of requests are already waiting or running; try again later.",
    )
    admission.enter(40)
    admission.leave(60)
    assert (admission.requests, admission.bytes) == (1, 40)
    admission.enter(60)


def test_a_request_over_the_limit_alone_is_too_large() -> None:
    admission = Admission("Model m", "model", 10, 100)
    sentence = r"^Model m takes requests of 100 bytes of data at most; this one has 101\.$"
    with pytest.raises(TooLarge, match=sentence) as caught:
        admission.enter(101)
    assert caught.value.reason == "too_large"
    assert (admission.requests, admission.bytes) == (0, 0)


def test_several_models_share_the_limits_of_the_server() -> None:
    whole = Admission("The server", "server", 3, 100)
    first, second = (Admission(f"Model {name}", "model", 2, 90, whole) for name in "ab")
    first.enter(10)
    first.enter(70)
    assert refusal(first)[0] == "model_requests"
    assert refusal(second, 21)[0] == "server_bytes"
    assert (second.requests, second.bytes, whole.requests, whole.bytes) == (0, 0, 2, 80)
    second.enter(20)
    assert refusal(second) == (
        "server_requests",
        "The server is overloaded: 3 requests are already waiting or running; try again later.",
    )
    first.leave(70)
    assert (whole.requests, whole.bytes) == (2, 30)
    second.enter(70)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (np.zeros(6, np.float32), 24),
        (np.zeros((2, 3)), 48),
        (["four", "", b"abc"], 3 * 8 + 7),
        ([], 0),
        ([1, 2, 3], 24),
        ([[1.0], [2.0]], 2 * 8 + 2),
        (5, 8),
        ("four", 4 * 8 + 4),
        (memoryview(np.zeros((2, 3), np.float32)), 24),
        (memoryview(np.zeros(6, np.float32)), 24),
    ],
)
def test_the_size_of_a_request(data: object, size: int) -> None:
    tensor = RequestInput("x", [1], "FP64", data)
    assert size_of([tensor]) == size
    assert size_of([tensor, tensor]) == 2 * size


def test_the_size_of_a_request_to_a_custom_handler() -> None:
    assert size_of_arguments(HandlerRequest(body=b"12345")) == 5
    assert size_of_arguments({"a": "b"}) == 0
