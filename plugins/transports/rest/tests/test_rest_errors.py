"""Errors: codes as HTTP statuses."""

from __future__ import annotations

import json

import pytest

import mlsrv.errors
from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded
from mlsrv_rest.errors import (
    STATUS,
    HTTPProblem,
    error_response,
    error_to_response,
    phrase,
    unknown_path,
    wrong_method,
)


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(Code)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("InvalidPayload", 400),
        ("InferenceError", 400),
        ("CodecError", 400),
        ("ModelNotFound", 404),
        ("ModelNotReady", 503),
        ("ServerNotReady", 503),
        ("TooLarge", 413),
        ("Overloaded", 503),
        ("DeadlineExceeded", 504),
        ("RequestCancelled", 503),
        ("Unsupported", 501),
        ("ModelFailed", 500),
        ("MLSrvError", 500),
    ],
)
def test_errors_of_the_kernel(name: str, status: int) -> None:
    error: MLSrvError = getattr(mlsrv.errors, name)("What is wrong.")
    reply = error_to_response(error)
    assert reply.status == status
    assert json.loads(reply.body) == {"error": "What is wrong."}
    assert reply.headers[:2] == [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(reply.body)).encode()),
    ]


def test_an_existing_thing_is_a_conflict() -> None:
    class Exists(MLSrvError):
        code = Code.ALREADY_EXISTS

    assert error_to_response(Exists("There is one.")).status == 409


def test_overload_has_a_time() -> None:
    error = Overloaded("Full.")
    error.retry_after = 2.2
    assert (b"retry-after", b"3") in error_to_response(error).headers


def test_the_unexpected_shows_only_its_id(caplog: pytest.LogCaptureFixture) -> None:
    reply = error_to_response(KeyError("secret"), CallContext("id-1"))
    assert reply.status == 500
    assert json.loads(reply.body) == {"error": "Internal server error (request id-1)"}
    assert (b"x-request-id", b"id-1") in reply.headers
    (record,) = caplog.records
    assert record.__dict__["request_id"] == "id-1"
    assert "secret" in caplog.text


@pytest.mark.parametrize("request_id", ["a\r\nset-cookie: x", "é", "x" * 201])
def test_an_id_that_is_no_header_stays_in_the_body(request_id: str) -> None:
    reply = error_to_response(MLSrvError("Broken."), CallContext(request_id))
    assert [name for name, _ in reply.headers] == [b"content-type", b"content-length"]


def test_problems_of_http() -> None:
    assert error_to_response(HTTPProblem(415, "No.", ((b"a", b"b"),))).headers[-1] == (b"a", b"b")
    assert wrong_method("PUT", {"POST", "GET"}).headers == ((b"allow", b"GET, POST"),)
    assert len(str(unknown_path("/" * 5000))) < 250
    assert phrase(418) == "I'm a Teapot"
    assert phrase(799) == "Status 799"
    assert json.loads(error_response(400, "a\ud800b").body) == {"error": "a?b"}
