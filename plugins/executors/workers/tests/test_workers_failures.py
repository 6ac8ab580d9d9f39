"""Errors on their way to the server."""

import pickle

import pytest

from mlsrv.errors import Code, InferenceError, MLSrvError, Overloaded
from mlsrv_workers.failures import WorkerEnded, describe_exit, dump_error, load_error


def test_an_error_keeps_its_class_and_attributes() -> None:
    error = Overloaded("too much")
    error.retry_after = 7.0
    back = load_error(pickle.loads(pickle.dumps(dump_error(error))))
    assert isinstance(back, Overloaded)
    assert (str(back), back.retry_after) == ("too much", 7.0)


def test_an_error_that_only_the_worker_knows_keeps_text_and_code() -> None:
    class Local(InferenceError):
        pass

    back = load_error(dump_error(Local("mine")))
    assert type(back) is MLSrvError
    assert (str(back), back.code) == ("mine", Code.INVALID_ARGUMENT)
    assert MLSrvError("x").code is Code.INTERNAL


def test_an_error_whose_class_is_gone_keeps_text_and_code() -> None:
    _, text, code = dump_error(WorkerEnded("gone"))
    back = load_error((b"cnowhere\nThing\n.", text, code))
    assert (str(back), back.code) == ("gone", Code.INTERNAL)


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exit code 0"), (-9, "signal 9, SIGKILL"), (-99, "signal 99"), (None, "it closed its connection")],
)
def test_ends(status: int | None, text: str) -> None:
    assert describe_exit(status) == text
