"""Blocking kernel: a kernel for programs without asyncio."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlsrv import MLModel, ModelSettings
from mlsrv.errors import ConfigurationError, ModelNotReady, ServerNotReady
from mlsrv.handlers import custom_handler
from mlsrv.testing import EchoModel, make_kernel, text_request
from mlsrv.testing.models import echo
from mlsrv.types import InferenceRequest, InferenceResponse

LIMIT = 30.0
ECHO = ModelSettings(name="echo", implementation=EchoModel)


class Counts(MLModel):
    """Streams without an end, and counts what was closed."""

    closed = threading.Event()

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        request = await anext(payloads)
        try:
            while True:
                yield echo(request)
        finally:
            self.closed.set()

    @custom_handler(rest_path="/twice")
    def twice(self, x: int) -> int:
        return 2 * x


class Waits(MLModel):
    """Answers when it is told to."""

    begun, go = threading.Event(), threading.Event()

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # authors may
        self.begun.set()
        assert self.go.wait(LIMIT)
        return echo(payload)


def ask(kernel: Any, text: str) -> Any:
    return kernel.infer(text_request("echo", [text])).outputs[0].data[0]


def test_calls_wait_for_their_results() -> None:
    with make_kernel(ECHO).blocking() as kernel:
        assert ask(kernel, "hello") == "hello"
        assert [item.state for item in kernel.index()] == ["READY"]
        kernel.unload("echo")
        with pytest.raises(ModelNotReady):
            ask(kernel, "gone")
        kernel.load("echo")
        assert ask(kernel, "back") == "back"


def test_several_threads_call_at_once() -> None:
    with make_kernel(ECHO).blocking() as kernel, ThreadPoolExecutor(8) as pool:
        texts = [f"text {number}" for number in range(200)]
        assert list(pool.map(lambda text: ask(kernel, text), texts)) == texts


def test_a_stream_that_is_left_stops_the_model() -> None:
    with make_kernel(ModelSettings(name="counts", implementation=Counts)).blocking() as kernel:
        responses = kernel.stream(text_request("counts", ["a"]))
        assert [next(responses).outputs[0].data for _ in range(3)] == [["a"]] * 3
        responses.close()  # type: ignore[attr-defined]  # it is a generator
        assert Counts.closed.wait(LIMIT)
        assert kernel.call("counts", None, "twice", {"x": 21}) == 42


async def test_it_works_inside_a_running_loop_as_in_a_notebook() -> None:
    with make_kernel(ECHO).blocking() as kernel:
        assert ask(kernel, "hello") == "hello"


def test_it_can_be_entered_again_but_not_twice() -> None:
    blocking = make_kernel(ECHO).blocking()
    for _ in range(2):
        with blocking:
            assert ask(blocking, "hello") == "hello"
            with pytest.raises(RuntimeError, match="running already"):
                blocking.__enter__()
            assert ask(blocking, "still") == "still"
        with pytest.raises(ServerNotReady, match="not running"):
            ask(blocking, "late")


def test_a_start_that_fails_raises_and_leaves_no_thread() -> None:
    blocking = make_kernel(ECHO, model_repository_poll=1.0, load_models_at_startup=False).blocking()
    with pytest.raises(ConfigurationError, match="nothing to watch"):
        blocking.__enter__()
    assert "mlsrv-kernel" not in [thread.name for thread in threading.enumerate()]


def test_leaving_fails_the_calls_that_still_wait() -> None:
    settings = ModelSettings(name="waits", implementation=Waits)
    with ThreadPoolExecutor(1) as pool:
        try:
            with make_kernel(settings, shutdown_timeout=0.1).blocking() as kernel:
                waiting = pool.submit(kernel.infer, text_request("waits", ["a"]))
                assert Waits.begun.wait(LIMIT)
            with pytest.raises(ServerNotReady, match="has stopped"):
                waiting.result(LIMIT)
        finally:
            Waits.go.set()


def test_a_program_without_a_main_guard_is_not_imported_by_workers(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os\n"
        "from mlsrv import Kernel, ModelSettings\n"
        "from mlsrv.testing import text_request\n"
        "print('imported', flush=True)\n"
        "settings = {'executor': None}\n"
        "model = ModelSettings(name='echo', implementation='mlsrv.testing.EchoModel')\n"
        "with Kernel(settings, models=[model]).blocking() as kernel:\n"
        "    print(kernel.infer(text_request('echo', ['a'])).outputs[0].data[0], flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "app.py")], capture_output=True, text=True, timeout=100, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in (["imported", "a"], ["imported", "b'a'"])
