"""Failures: errors that are sent to the server."""

from typing import Any

import pytest

from mlsrv.errors import (
    Code,
    ConfigurationError,
    InferenceError,
    MLSrvError,
    ModelAnswered,
    ModelFailed,
    Overloaded,
    RateLimited,
)
from mlsrv_executor_kit.failures import RemoteTraceback, dump_error, load_error
from mlsrv_executor_kit.plain_data import load_plain
from mlsrv_executor_kit.plain_values import dump_value


def through(error: MLSrvError) -> MLSrvError:
    """Return the error that arrives."""
    return load_error(load_plain(dump_value(dump_error(error))))


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (RateLimited.by("robot", "5 requests", 7.0), {"retry_after": 7.0, "reason": "rate_limited"}),
        (Overloaded.of("m", "8 requests", "queue"), {"retry_after": 1.0, "reason": "queue"}),
        (ModelFailed.of("m", None, KeyError("x")), {"what": "Model m failed", "raised": "KeyError"}),
        (ModelAnswered("no tea", 418), {"status": 418, "code": Code.INVALID_ARGUMENT}),
        (ConfigurationError(["one", "two"]), {"problems": ["one", "two"]}),
    ],
)
def test_an_error_keeps_its_class_and_attributes(error: MLSrvError, attributes: dict[str, Any]) -> None:
    back = through(error)
    assert type(back) is type(error)
    assert (str(back), back.code) == (str(error), error.code)
    assert {name: getattr(back, name) for name in attributes} == attributes


def test_an_error_of_another_class_becomes_the_nearest_one_with_its_text_and_code() -> None:
    class Local(InferenceError):
        code = Code.NOT_FOUND

    back = through(Local("mine"))
    assert type(back) is InferenceError
    assert (str(back), back.code) == ("mine", Code.NOT_FOUND)


def test_an_error_with_any_object_in_it_arrives() -> None:
    error = InferenceError("mine")
    error.args = (lambda: None,)
    error.reason_of = lambda: None  # type: ignore[attr-defined]  # as code of a model may
    assert type(through(error)) is InferenceError


@pytest.mark.parametrize(
    "plain",
    [
        ("ModelAnswered", "x", "INTERNAL", {"status": 200}, None),
        ("ConfigurationError", "x", "INTERNAL", {"problems": "x"}, None),
        ("MLSrvError", "x", "NO_CODE", {}, None),
        ("MLSrvError", 5, "INTERNAL", {}, None),
        ("MLSrvError", "x", "INTERNAL", None, None),
    ],
)
def test_values_that_are_no_error_are_refused(plain: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        load_error(plain)


def test_attributes_of_wrong_kinds_and_unknown_classes_are_left_out() -> None:
    back = load_error(("Overloaded", "x", "OVERLOADED", {"retry_after": float("nan"), "reason": 7}, None))
    assert isinstance(back, Overloaded)
    assert (back.retry_after, back.reason) == (1.0, "overloaded")
    assert type(load_error(("os.system", "x", "INTERNAL", {"args": (1,)}, None))) is MLSrvError


def test_the_traceback_is_sent_unless_the_client_caused_the_error() -> None:
    try:
        raise KeyError("café\nü")
    except KeyError as cause:
        error = ModelFailed.of("m", None, cause)
        error.__cause__ = cause
    back = through(error)
    assert isinstance(back.__cause__, RemoteTraceback)
    lines = str(back.__cause__).splitlines()
    assert lines[:2] == ["in another process", "Traceback (most recent call last):"]
    assert lines[-1] == "KeyError: 'café\\nü'"
    assert through(InferenceError("mine")).__cause__ is None
