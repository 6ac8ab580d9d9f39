"""Admission: limits of one model and of all models, in requests and in bytes."""

import pickle
from typing import Any

import pytest

from mlsrv.authorization import Limits, Principal
from mlsrv.dataplane.admission import RECENT_SECONDS, Admission, size_of_arguments
from mlsrv.errors import Code, Overloaded, RateLimited, TooLarge
from mlsrv.handlers import HandlerRequest


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


def test_the_size_of_a_request_to_a_custom_handler() -> None:
    assert size_of_arguments(HandlerRequest(body=b"12345")) == 5
    assert size_of_arguments({"a": "b"}) == 0


def principal(name: str, **limits: Any) -> Principal:
    return Principal(name, limits=Limits(**limits) if limits else None)


def test_one_principal_leaves_room_for_others() -> None:
    admission = Admission("Model m", "model", 100, 10**9)
    greedy, modest = principal("greedy"), principal("modest")
    for _ in range(90):
        admission.enter(1, greedy)
    with pytest.raises(Overloaded, match="90 requests of greedy") as caught:
        admission.enter(1, greedy)
    assert caught.value.reason == "principal_requests"
    # As soon as another one is there, each has half of it.
    admission.enter(1, modest)
    for _ in range(45):
        admission.leave(1, greedy)
    for _ in range(9):
        admission.enter(1, modest)
    with pytest.raises(Overloaded):
        admission.enter(1, greedy)
    for _ in range(10):
        admission.leave(1, greedy)
    admission.enter(1, greedy)


def test_who_has_asked_lately_finds_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("mlsrv.dataplane.admission.monotonic", lambda: now)
    admission = Admission("Model m", "model", 100, 10**9)
    greedy, modest = principal("greedy"), principal("modest")
    for _ in range(50):
        admission.enter(1, greedy)
    admission.enter(1, modest)
    admission.leave(1, modest)
    # No request of it is in, but the next ones may come.
    with pytest.raises(Overloaded, match="50 requests of greedy"):
        admission.enter(1, greedy)
    now += RECENT_SECONDS + 0.1
    admission.enter(1, greedy)
    assert admission.requests == 51


def test_without_pressure_nobody_is_held_to_a_share() -> None:
    admission = Admission("Model m", "model", 100, 10**9)
    for number in range(20):
        admission.enter(1, principal(f"p{number}"))
    for _ in range(29):
        admission.enter(1, principal("p0"))
    assert admission.requests == 49


def test_bytes_are_shared_too() -> None:
    admission = Admission("Model m", "model", 100, 1000)
    greedy, modest = principal("greedy"), principal("modest")
    admission.enter(800, greedy)
    with pytest.raises(Overloaded, match="800 bytes of requests of greedy"):
        admission.enter(150, greedy)
    admission.enter(150, modest)


def test_the_limits_of_a_principal_hold_for_all_models_together() -> None:
    server = Admission("The server", "server", 100, 10**6)
    one, other = (Admission(f"Model {name}", "model", 100, 10**6, server) for name in "ab")
    limited = principal("robot", in_flight=2, in_flight_bytes=100)
    one.enter(10, limited)
    other.enter(10, limited)
    with pytest.raises(RateLimited, match="robot is limited to 2 requests at once"):
        one.enter(10, limited)
    other.leave(10, limited)
    with pytest.raises(RateLimited, match="100 bytes of requests at once"):
        other.enter(91, limited)
    other.enter(90, limited)
    one.leave(10, limited)
    other.leave(90, limited)
    assert (server.requests, server.bytes, one.requests, other.requests) == (0, 0, 0, 0)
