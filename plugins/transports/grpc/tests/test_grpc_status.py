"""Status: errors as statuses of calls."""

from __future__ import annotations

import grpc
import pytest

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded, TooLarge
from mlsrv_grpc.status import STATUS, failure


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
