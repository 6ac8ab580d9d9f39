"""The executor of the kernel itself."""

import asyncio
import sys
import threading
from typing import Any

import pytest
from kernel_parts import ask, model

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.errors import ConfigurationError
from mlsrv.hosting.inline_executor import SPARE, InlineExecutor
from mlsrv.testing import EchoModel, make_kernel, text_request
from mlsrv.types import InferenceRequest, InferenceResponse


class Named(MLModel):
    """Answers with the name of its thread, when two of its calls are running."""

    barrier: threading.Barrier

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # sync
        self.barrier.wait(10)
        name = threading.current_thread().name
        return InferenceResponse(outputs=[{"name": "o", "shape": [1], "datatype": "BYTES", "data": [name]}])


async def test_plain_code_runs_in_as_many_threads_as_the_settings_say() -> None:
    Named.barrier = threading.Barrier(2)
    async with Kernel({"inline_threads": 2}, models=[model("m", Named)], discover=False) as kernel:
        await kernel.loaded()
        names = await asyncio.gather(*(ask(kernel) for _ in range(6)))
    assert set(names) == {"mlsrv-inline-1", "mlsrv-inline-2"}


async def test_the_threads_end_with_the_kernel() -> None:
    Named.barrier = threading.Barrier(1)
    async with Kernel(models=[model("m", Named)], discover=False) as kernel:
        await kernel.loaded()
        await ask(kernel)
        (thread,) = [one for one in threading.enumerate() if one.name == "mlsrv-inline-1"]
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_the_inline_executor_takes_every_model_and_yields_to_every_other_executor() -> None:
    async with Kernel(models=[model("m", EchoModel)], discover=False) as kernel:
        inline = kernel._executors["inline"]
        assert isinstance(inline, InlineExecutor)
        assert inline.claims(model("anything"))
        assert inline.priority < 0
        assert inline.problem is None


class Hanging(MLModel):
    """Hangs until it is let go, if the request says so."""

    release: threading.Event
    begun: threading.Semaphore

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # sync
        if payload.inputs[0].data == ["hang"]:
            self.begun.release()
            assert self.release.wait(60)
        return InferenceResponse(outputs=[{"name": "o", "shape": [1], "datatype": "BYTES", "data": ["done"]}])


async def test_requests_that_hang_cost_threads_and_then_readiness(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mlsrv_hosting_kit.threads.OVERDUE_AFTER", 0.01)
    Hanging.release, Hanging.begun = threading.Event(), threading.Semaphore(0)
    async with Kernel({"inline_threads": 1}, models=[model("m", Hanging)], discover=False) as kernel:
        await kernel.loaded()

        async def give_up() -> None:
            call = asyncio.create_task(ask(kernel, text="hang"))
            assert await asyncio.to_thread(Hanging.begun.acquire, timeout=20)
            call.cancel()
            await asyncio.wait({call})

        for _ in range(SPARE):
            await give_up()
            assert await asyncio.wait_for(ask(kernel), 20) == "done"
        assert kernel.ready
        assert "to the model m was given up 0.01 s ago and still runs in a thread" in caplog.text
        await give_up()
        async with asyncio.timeout(20):
            while kernel.ready:
                await asyncio.sleep(0.005)
        (problem,) = kernel.problems()
        assert problem.startswith("All 5 threads for code of models in this process are taken by")
        Hanging.release.set()
        assert await asyncio.wait_for(ask(kernel), 20) == "done"
        assert kernel.ready


async def test_without_the_kit_the_setting_for_short_calls_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlsrv_executor_kit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlsrv_executor_kit", None)
    with pytest.raises(ConfigurationError, match=r"^inline_short_calls: .*pip install mlsrv-executor-kit\.$"):
        async with make_kernel(inline_short_calls=True):
            pass


async def test_short_calls_run_on_the_event_loop_if_the_settings_say_so() -> None:
    loop_thread, seen = threading.get_ident(), set()

    class Plain(MLModel):
        def predict(self, payload: Any) -> InferenceResponse:  # type: ignore[override]  # authors may
            seen.add(threading.get_ident() == loop_thread)
            return InferenceResponse(outputs=[])

    async with make_kernel(ModelSettings(name="m", implementation=Plain), inline_short_calls=True) as kernel:
        await kernel.loaded()
        async with asyncio.timeout(60):
            while True not in seen:
                await kernel.infer(text_request("m", ["a"]))
    assert seen == {False, True}
