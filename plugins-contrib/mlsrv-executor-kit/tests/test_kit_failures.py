"""Failures: errors that are sent to the server."""

import pickle

from mlsrv.errors import Code, InferenceError, MLSrvError, ModelFailed, Overloaded
from mlsrv_executor_kit.failures import RemoteTraceback, dump_error, load_error


def test_an_error_keeps_its_class_and_attributes() -> None:
    error = Overloaded("too much")
    error.retry_after = 7.0
    back = load_error(pickle.loads(pickle.dumps(dump_error(error))))
    assert isinstance(back, Overloaded)
    assert (str(back), back.retry_after) == ("too much", 7.0)


def test_an_error_that_cannot_be_pickled_keeps_text_and_code() -> None:
    class Local(InferenceError):
        pass

    back = load_error(dump_error(Local("mine")))
    assert type(back) is MLSrvError
    assert (str(back), back.code) == ("mine", Code.INVALID_ARGUMENT)
    assert MLSrvError("x").code is Code.INTERNAL


def test_an_error_whose_class_cannot_be_imported_keeps_text_and_code() -> None:
    _, *rest = dump_error(ModelFailed("gone"))
    back = load_error((b"cnowhere\nThing\n.", *rest))
    assert (str(back), back.code) == ("gone", Code.INTERNAL)


def test_the_traceback_is_sent_unless_the_client_caused_the_error() -> None:
    try:
        raise KeyError("café\nü")
    except KeyError as cause:
        error = ModelFailed.of("m", None, cause)
        error.__cause__ = cause
    back = load_error(dump_error(error))
    assert isinstance(back.__cause__, RemoteTraceback)
    lines = str(back.__cause__).splitlines()
    assert lines[:2] == ["in another process", "Traceback (most recent call last):"]
    assert lines[-1] == "KeyError: 'café\\nü'"
    assert load_error(dump_error(InferenceError("mine"))).__cause__ is None
