"""Context: deadline, cancellation, request ids."""

import os
import subprocess
import sys
import time

import pytest

from mlsrv.authorization import Principal
from mlsrv.context import DEEPEST_QUESTION, CallContext, new_request_id
from mlsrv.errors import DeadlineExceeded, ModelFailed, PermissionDenied, RequestCancelled


def test_request_ids_are_32_digits_and_never_the_same() -> None:
    ids = {new_request_id() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_makes_other_ids() -> None:
    program = """
import os
from mlsrv.context import new_request_id
new_request_id()
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(write, new_request_id().encode())
    os._exit(0)
os.waitpid(pid, 0)
print(os.read(read, 32).decode()[:20] == new_request_id()[:20])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_without_a_deadline() -> None:
    context = CallContext()
    assert (context.remaining, context.cancelled) == (None, False)
    context.check()


def test_a_deadline_that_passes() -> None:
    context = CallContext.with_timeout(60, request_id="r", priority=1)
    assert context.priority == 1
    assert context.remaining is not None
    assert 59 < context.remaining <= 60
    assert not context.cancelled
    late = CallContext(request_id="r", deadline=time.monotonic())
    assert late.remaining == 0.0
    assert late.cancelled
    with pytest.raises(DeadlineExceeded, match=r"^The deadline of request r has passed"):
        late.check()


def test_cancelling_calls_back_once() -> None:
    context, called = CallContext(request_id="r"), []
    context.on_cancel(lambda: called.append("first"))
    context.on_cancel(lambda: called.append("second"))
    assert called == []
    context.cancel()
    context.cancel()
    context.on_cancel(lambda: called.append("late"))
    assert called == ["first", "second", "late"]
    assert context.cancelled
    with pytest.raises(RequestCancelled, match=r"^Request r was cancelled"):
        context.check()


def test_a_callback_that_raises_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    context, called = CallContext(request_id="r"), []

    def fail() -> None:
        raise OSError("the worker is gone")

    context.on_cancel(fail)
    context.on_cancel(lambda: called.append("second"))
    context.cancel()
    assert called == ["second"]
    assert "the worker is gone" in caplog.text


def test_headers_are_empty_and_cannot_be_shared_by_accident() -> None:
    context = CallContext()
    assert (dict(context.headers), dict(context.trace), context.transport) == ({}, {}, "")
    with pytest.raises(TypeError):
        context.headers["x"] = "y"  # type: ignore[index]  # the mistake under test


def test_a_question_is_asked_for_the_sake_of_the_request() -> None:
    context = CallContext("id", time.monotonic() + 9, 3, {"a": "b"}, {"traceparent": "t"}, "rest")
    context.principal = Principal("ann")
    made = context.question()
    assert (made.request_id, made.deadline, made.headers) == ("id", context.deadline, {"a": "b"})
    assert made.principal is context.principal
    assert made.depth == 1
    context.cancel()
    assert made.given_up


def test_a_circle_of_questions_ends() -> None:
    context = CallContext()
    for _ in range(DEEPEST_QUESTION):
        context = context.question()
    with pytest.raises(ModelFailed, match="in a circle, 16 of them"):
        context.question()


def test_a_batch_asks_for_one_principal_only() -> None:
    ann, bob = Principal("ann"), Principal("bob")
    members = [CallContext(principal=one) for one in (ann, ann)]
    assert CallContext(links=members).question().principal is ann
    assert CallContext(links=[CallContext(), CallContext()]).question().principal is None
    with pytest.raises(PermissionDenied, match="several principals"):
        CallContext(links=[*members, CallContext(principal=bob)]).question()
    with pytest.raises(PermissionDenied, match="several principals"):
        CallContext(links=[*members, CallContext()]).question()
