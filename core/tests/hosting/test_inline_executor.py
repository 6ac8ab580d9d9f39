"""The executor of the kernel itself."""

import asyncio
import threading

import pytest
from kernel_parts import ask, model

from mlsrv import Kernel, MLModel
from mlsrv.hosting.inline_executor import SPARE, InlineExecutor
from mlsrv.testing import EchoModel
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
    monkeypatch.setattr("mlsrv.threads.OVERDUE_AFTER", 0.01)
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
