"""User calls: context variables, threads and translated exceptions around the code of a model."""

import os
import threading
from collections.abc import Iterator

import pytest

from mlsrv.context import CallContext, current_context
from mlsrv.errors import InferenceError, ModelFailed
from mlsrv.hosting.user_call import UserCode, UserCodeCall, as_async, run_once
from mlsrv.metrics import ModelMetrics, current_metrics, discard
from mlsrv.threads import Threads
from mlsrv.timeline import Timeline, current_stopwatch

CODE = UserCode("m", "v1", ModelMetrics("m", "v1", discard))


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(1, "test")
    yield made
    made.close()


def test_a_call_sees_its_request_and_leaves_nothing_behind() -> None:
    context = CallContext("r1", timeline=Timeline())
    with UserCodeCall(CODE, context):
        assert current_context.get() is context
        assert current_metrics.get() is CODE.metrics
        assert current_stopwatch.get() is not None
        with UserCodeCall(CODE, CallContext("inner")):
            assert current_stopwatch.get() is None
    assert (current_context.get(), current_metrics.get(), current_stopwatch.get()) == (None, None, None)


def test_an_exception_of_the_code_becomes_one_of_the_model() -> None:
    with pytest.raises(ModelFailed, match="Model m with version v1 failed: KeyError: 'x'") as caught:
        with UserCodeCall(CODE, CallContext()):
            raise KeyError("x")
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_refusal_of_the_model_passes_unchanged() -> None:
    error = InferenceError("The model refuses this.")
    with pytest.raises(InferenceError) as caught, UserCodeCall(CODE, CallContext()):
        raise error
    assert caught.value is error


async def test_plain_functions_run_in_threads_and_coroutines_on_the_loop(threads: Threads) -> None:
    def plain() -> int:
        return threading.get_ident()

    async def asynchronous() -> int:
        return threading.get_ident()

    assert await as_async(plain, threads)() != threading.get_ident()
    assert as_async(asynchronous, threads) is asynchronous
    assert await as_async(lambda: asynchronous(), threads)() == threading.get_ident()
    assert await run_once(plain) != threading.get_ident()
    assert await run_once(asynchronous) == threading.get_ident()


async def test_the_wait_for_a_thread_is_measured_apart(threads: Threads) -> None:
    timeline = Timeline()
    with UserCodeCall(CODE, CallContext("r1", timeline=timeline)):
        assert await as_async(lambda: 5, threads)() == 5
    assert [name for name, _, _ in timeline.spans] == ["queue", "predict"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("error", [None, ValueError("in the child"), SystemExit(0)])
async def test_a_child_that_comes_back_from_asynchronous_code_ends(error: BaseException | None) -> None:
    with UserCodeCall(CODE, CallContext()):
        child = os.fork()
        if not child and error is not None:
            raise error
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
