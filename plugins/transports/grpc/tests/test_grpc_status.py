"""Status: errors as statuses of calls."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded, TooLarge
from mlsrv_grpc.status import STATUS, cancellation_name, code_name, failure


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(Code)


def test_overload_says_when_to_come_back() -> None:
    error = Overloaded("Full.")
    error.retry_after = 0.25
    assert failure(error, CallContext("r-1")) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "Full.",
        (("grpc-retry-pushback-ms", "250"), ("x-request-id", "r-1")),
    )
    assert failure(TooLarge("Large."), CallContext("r-1")).trailing == (("x-request-id", "r-1"),)
    assert failure(TooLarge("Large."), CallContext("é\n")).trailing == ()


def test_an_unexpected_error_is_logged_and_its_text_kept_from_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = failure(ZeroDivisionError("secret"), CallContext("r-1"))
    assert found[:2] == (grpc.StatusCode.INTERNAL, "Internal server error (request r-1)")
    (record,) = caplog.records
    assert record.exc_info
    assert "r-1" in record.getMessage()


@pytest.mark.parametrize("text", ["é" * 3000, "a" * 3000, "\N{GRINNING FACE}" * 3000])
def test_details_are_bounded(text: str) -> None:
    details = failure(MLSrvError(text)).details
    assert len(details.encode()) <= 2003
    assert details.endswith("…")
    assert text.startswith(details[:-1])


def test_lone_surrogates_do_no_harm() -> None:
    assert failure(MLSrvError("a\ud800b")).details == "a?b"


class Call:
    """What the status of a call is read from; stands in for gRPC's own, whose clock no test can set."""

    def __init__(self, remaining: float | None, code: Any = None) -> None:
        self._remaining = remaining
        self._code = code

    def time_remaining(self) -> float | None:
        return self._remaining

    def code(self) -> Any:
        return self._code


@pytest.mark.parametrize(
    ("remaining", "name"),
    [
        (None, "CANCELLED"),
        (5.0, "CANCELLED"),
        (0.2, "DEADLINE_EXCEEDED"),  # the client's clock began earlier
        (-1.0, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_call_that_is_cancelled_about_its_deadline_is_late(remaining: float | None, name: str) -> None:
    call: Any = Call(remaining)
    assert cancellation_name(call) == name


@pytest.mark.parametrize(
    ("remaining", "code", "name"),
    [
        (None, None, "OK"),
        (0.2, 0, "OK"),
        (-0.1, 0, "DEADLINE_EXCEEDED"),
        (-0.1, grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        (None, 5, "NOT_FOUND"),
    ],
)
def test_a_call_that_ends_after_its_deadline_is_late(remaining: float | None, code: Any, name: str) -> None:
    call: Any = Call(remaining, code)
    assert code_name(call) == name
