"""Batcher: requests to real models in a kernel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import numpy as np
import pytest

import mlsrv_batching.plugin
from mlsrv import CallContext, Kernel, MLModel, ModelSettings
from mlsrv.errors import (
    Code,
    DeadlineExceeded,
    InferenceError,
    MLSrvError,
    ModelFailed,
    Overloaded,
    TooLarge,
    Unsupported,
)
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput
from mlsrv_batching.batcher import Batcher


class Held(MLModel):
    """Doubles numbers while the gate is open and keeps the rows of each call. Refuses 13, fails at 66."""

    rows: list[int]
    gate: asyncio.Event

    async def load(self) -> bool:
        type(self).rows, type(self).gate = [], asyncio.Event()
        self.gate.set()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        self.rows.append(tensor.shape[0])
        await self.gate.wait()
        if 13 in tensor.data:
            raise InferenceError("no thirteen")
        if 66 in tensor.data:
            raise ValueError("sixty-six")
        return InferenceResponse(
            outputs=[ResponseOutput("y", tensor.shape, tensor.datatype, tensor.data * 2)]
        )


class Refusing(MLModel):
    """Raises what is asked for in the parameter `error` of the input; echoes the parameters otherwise."""

    calls: ClassVar[list[int]] = []

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        self.calls.append(tensor.shape[0])
        await asyncio.sleep(0.01)
        parameters = tensor.parameters
        for error in (parameters and parameters.get("error", [])) or []:
            if isinstance(error, Exception):
                raise error
        if parameters and "joint" in parameters:
            parameters = Parameters(joint=sorted(set(parameters.joint)))
        output = ResponseOutput("y", tensor.shape, tensor.datatype, tensor.data, parameters)
        return InferenceResponse(outputs=[output], parameters=payload.parameters)


class Gone(MLSrvError):
    """Stands for the end of a worker process."""


class Refusal(MLSrvError):
    """A refusal of a model by its own code."""

    code = Code.NOT_FOUND


class Summing(MLModel):
    """Answers any input with one row."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.sleep(0.01)
        total = float(np.sum(payload.inputs[0].data))
        return InferenceResponse(outputs=[ResponseOutput("sum", [1], "FP64", [total])])


@asynccontextmanager
async def batched(implementation: type[MLModel] = Held, **fields: Any) -> AsyncIterator[Kernel]:
    settings = {"max_batch_size": 8, "max_batch_time": 5.0, **fields}
    model = ModelSettings(name="m", implementation=implementation, **settings)
    async with Kernel(models=[model], plugins=[mlsrv_batching.plugin], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
        yield kernel


def batcher(kernel: Kernel) -> Batcher:
    [found] = [one for one in kernel.handle("m").loaded().interceptors if isinstance(one, Batcher)]
    return found


def ask(kernel: Kernel, value: int, rows: int = 1, **context: Any) -> asyncio.Task[InferenceResponse]:
    request = tensor_request("m", np.full((rows, 1), value), id=f"id-{value}")
    return asyncio.create_task(kernel.infer(request, CallContext(f"id-{value}", **context)))


async def until_waiting(kernel: Kernel, count: int) -> None:
    async with asyncio.timeout(5):
        while batcher(kernel).explain()["waiting_requests"] != count:
            await asyncio.sleep(0)


async def hold(kernel: Kernel) -> asyncio.Task[InferenceResponse]:
    """Keep the model busy with one request, and return when it is."""
    Held.gate.clear()
    before = len(Held.rows)
    busy = ask(kernel, 1)
    async with asyncio.timeout(5):
        while len(Held.rows) == before:
            await asyncio.sleep(0)
    return busy


async def test_an_idle_model_runs_at_once_and_a_busy_one_collects_a_batch() -> None:
    async with batched() as kernel:
        busy = await hold(kernel)
        others = [ask(kernel, value) for value in range(2, 7)]
        await until_waiting(kernel, 5)
        Held.gate.set()
        responses = await asyncio.gather(busy, *others)
        assert Held.rows == [1, 5]
        assert [response.outputs[0].data.tolist() for response in responses] == [[2 * n] for n in range(1, 7)]
        assert [response.id for response in responses] == [f"id-{n}" for n in range(1, 7)]
        assert [one["why"] for one in batcher(kernel).explain()["decisions"]] == ["idle", "slot free"]


async def test_a_batch_never_exceeds_max_batch_size() -> None:
    async with batched(max_batch_size=4) as kernel:
        busy = await hold(kernel)
        others = [ask(kernel, value, rows=2) for value in range(2, 7)]
        await until_waiting(kernel, 5)
        Held.gate.set()
        await asyncio.gather(busy, *others)
        assert Held.rows == [1, 4, 4, 2]


async def test_a_large_request_runs_in_pieces() -> None:
    async with batched(max_batch_size=4) as kernel:
        response = await ask(kernel, 5, rows=10)
        assert response.id == "id-5"
        assert response.outputs[0].shape == [10, 1]
        assert response.outputs[0].data.tolist() == [10] * 10
        assert sum(Held.rows) == 10
        assert max(Held.rows) <= 4


async def test_waiting_ends_after_max_batch_time() -> None:
    async with batched(max_batch_time=0.05) as kernel:
        busy = await hold(kernel)
        other = ask(kernel, 2)
        async with asyncio.timeout(5):
            while len(Held.rows) < 2:
                await asyncio.sleep(0.005)
        assert not busy.done()
        Held.gate.set()
        await asyncio.gather(busy, other)
        assert batcher(kernel).explain()["decisions"][-1]["why"] in ("time", "idle")


@pytest.mark.parametrize(("value", "error"), [(13, InferenceError), (66, ModelFailed)])
async def test_a_failing_request_does_not_affect_others(value: int, error: type[Exception]) -> None:
    async with batched() as kernel:
        busy = await hold(kernel)
        tasks = [ask(kernel, 2), ask(kernel, value), ask(kernel, 3)]
        await until_waiting(kernel, 3)
        Held.gate.set()
        results = await asyncio.gather(busy, *tasks, return_exceptions=True)
        assert isinstance(results[2], error)
        assert [r.outputs[0].data.tolist() for r in results if isinstance(r, InferenceResponse)] == [
            [2],
            [4],
            [6],
        ]


def ask_with(
    kernel: Kernel, request_parameters: Parameters | None = None, **parameters: Any
) -> asyncio.Task[InferenceResponse]:
    request = tensor_request("m", np.full((1, 1), 1.0))
    request.inputs[0].parameters = Parameters(**parameters) if parameters else None
    request.parameters = request_parameters
    return asyncio.create_task(kernel.infer(request))


async def test_no_request_gets_a_parameter_of_another_one() -> None:
    async with batched(Refusing) as kernel:
        sent: list[dict[str, Any]] = [
            {},
            {"user": "alice"},
            {},
            {"user": "carol"},
            {"user": 7},
            {"user": "a"},
        ]
        busy = ask_with(kernel)
        answers = await asyncio.gather(busy, *(ask_with(kernel, **one) for one in sent))
        assert [(one.outputs[0].parameters or Parameters()).dict() for one in answers[1:]] == sent
        assert any(decision["requests"] == 3 for decision in batcher(kernel).decisions)


async def test_timeouts_and_priorities_of_a_request_do_not_reach_others() -> None:
    async with batched(Refusing) as kernel:
        busy = ask_with(kernel)
        own = [Parameters(timeout=9_000_000, user="u"), Parameters(user="u")]
        answers = await asyncio.gather(busy, *(ask_with(kernel, parameters) for parameters in own))
        assert [one.parameters for one in answers[1:]] == [Parameters(user="u")] * 2


async def test_requests_run_one_by_one_if_their_values_cannot_be_told_apart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with batched(Refusing) as kernel:
        for _ in range(2):
            Refusing.calls.clear()
            users = ["a", "b", "a"]
            found = await asyncio.gather(*(ask_with(kernel, joint=user) for user in ["z", *users]))
            assert [one.outputs[0].parameters for one in found[1:]] == [
                Parameters(joint=[user]) for user in users
            ]
        assert Refusing.calls == [1] * 4
        await asyncio.gather(*(ask_with(kernel) for _ in range(4)))
        assert Refusing.calls[4:] == [1, 3]
    assert len([one for one in caplog.records if "no longer batched" in one.message]) == 1


@pytest.mark.parametrize(
    "error",
    [
        InferenceError("no"),
        Refusal("no"),
        TooLarge("no"),
        Unsupported("no"),
        ModelFailed("no"),
        MLSrvError("no"),
        ValueError("no"),
    ],
)
async def test_a_refusal_concerns_one_request(error: Exception) -> None:
    async with batched(Refusing) as kernel:
        busy = ask_with(kernel)
        members = [ask_with(kernel, error=value) for value in (ValueError, error, TypeError)]
        found = await asyncio.gather(busy, *members, return_exceptions=True)
        assert [isinstance(one, MLSrvError) for one in found] == [False, False, True, False]
        assert "no" in str(found[2])


@pytest.mark.parametrize("error", [Gone("gone"), Overloaded("full"), DeadlineExceeded("late")])
async def test_a_batch_is_not_repeated_where_that_is_not_safe(error: Exception) -> None:
    async with batched(Refusing) as kernel:
        Refusing.calls.clear()
        busy = ask_with(kernel)
        members = [ask_with(kernel, error=value) for value in (error, type(error)("x"))]
        found = await asyncio.gather(busy, *members, return_exceptions=True)
        assert found[1:] == [error, error]
        assert Refusing.calls == [1, 2]


async def test_a_cancelled_request_is_left_out_of_its_batch() -> None:
    async with batched() as kernel:
        busy = await hold(kernel)
        tasks = [ask(kernel, 2), ask(kernel, 3), ask(kernel, 4)]
        await until_waiting(kernel, 3)
        tasks[1].cancel()
        await asyncio.sleep(0)
        Held.gate.set()
        results = await asyncio.gather(busy, *tasks, return_exceptions=True)
        assert Held.rows == [1, 2]
        assert isinstance(results[2], asyncio.CancelledError)
        assert isinstance(results[1], InferenceResponse)
        assert isinstance(results[3], InferenceResponse)


async def test_a_request_cancelled_while_its_batch_runs_does_not_affect_others() -> None:
    async with batched() as kernel:
        busy = await hold(kernel)
        tasks = [ask(kernel, 2), ask(kernel, 3)]
        await until_waiting(kernel, 2)
        Held.gate.set()
        await busy
        Held.gate.clear()
        async with asyncio.timeout(5):
            while Held.rows != [1, 2]:
                await asyncio.sleep(0)
        tasks[0].cancel()
        Held.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert isinstance(results[1], InferenceResponse)


async def test_a_request_whose_deadline_passes_in_the_queue_fails_at_once() -> None:
    async with batched() as kernel:
        busy = await hold(kernel)
        loop = asyncio.get_running_loop()
        late = ask(kernel, 2, deadline=loop.time() + 0.05)
        with pytest.raises(DeadlineExceeded):
            await late
        Held.gate.set()
        await busy
        assert Held.rows == [1]


async def test_requests_run_by_priority() -> None:
    async with batched(max_batch_size=2) as kernel:
        busy = await hold(kernel)
        tasks = [ask(kernel, 2), ask(kernel, 3), ask(kernel, 4, priority=1)]
        await until_waiting(kernel, 3)
        Held.gate.set()
        done: list[int] = []
        for task, value in zip(tasks, (2, 3, 4), strict=True):
            task.add_done_callback(lambda _, value=value: done.append(value))
        await asyncio.gather(busy, *tasks)
        assert done.index(4) < done.index(3)


async def test_requests_run_one_by_one_if_outputs_cannot_be_split(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mlsrv.batching"):
        async with batched(Summing) as kernel:
            responses = await asyncio.gather(*(ask(kernel, value, rows=2) for value in range(6)))
            assert [float(r.outputs[0].data[0]) for r in responses] == [2.0 * value for value in range(6)]
            large = await ask(kernel, 1, rows=30)
            assert float(large.outputs[0].data[0]) == 30
    assert len([record for record in caplog.records if "no longer batched" in record.message]) == 1


async def test_incompatible_requests_form_batches_of_their_own() -> None:
    async with batched() as kernel:
        busy = await hold(kernel)
        tasks = [ask(kernel, 2), ask(kernel, 3)]
        odd = tensor_request("m", np.full((1, 2), 9))
        other = tensor_request("m", np.full((1, 1), 4))
        other.parameters = Parameters(temperature=1)
        tasks += [asyncio.create_task(kernel.infer(request)) for request in (odd, other)]
        await until_waiting(kernel, 4)
        Held.gate.set()
        await asyncio.gather(busy, *tasks)
        assert Held.rows == [1, 2, 1, 1]


async def test_a_reload_still_batches() -> None:
    async with batched() as kernel:
        await kernel.load("m")
        busy = await hold(kernel)
        others = [ask(kernel, value) for value in (2, 3, 4)]
        await until_waiting(kernel, 3)
        Held.gate.set()
        await asyncio.gather(busy, *others)
        assert Held.rows == [1, 3]


async def test_a_single_client_does_not_count_as_arrivals() -> None:
    async with batched(max_batch_time="auto") as kernel:
        for number in range(100, 140):
            await ask(kernel, number)
        assert batcher(kernel).explain()["cost"]["rows_per_second"] == 0.0
        assert {decision["why"] for decision in batcher(kernel).decisions} == {"idle"}
        busy = await hold(kernel)
        others = [ask(kernel, number) for number in range(100, 103)]
        await until_waiting(kernel, 3)
        assert batcher(kernel).explain()["cost"]["rows_per_second"] > 0.0
        Held.gate.set()
        await asyncio.gather(busy, *others)


@pytest.mark.parametrize("fields", [{"max_batch_size": 1}, {"max_batch_time": 0.0}, {"max_batch_size": 0}])
async def test_batching_is_off_unless_both_settings_enable_it(fields: dict[str, Any]) -> None:
    async with batched(**fields) as kernel:
        interceptors = kernel.handle("m").loaded().interceptors
        assert not any(isinstance(interceptor, Batcher) for interceptor in interceptors)


async def test_random_traffic_gets_the_answers_of_an_unbatched_model() -> None:
    chance = np.random.default_rng(5)
    async with batched(max_batch_size=5) as kernel:
        sizes = chance.integers(1, 9, 60)
        tasks = []
        for number, rows in enumerate(sizes):
            tasks.append(ask(kernel, number + 100, rows=int(rows)))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        for number, (task, rows) in enumerate(zip(tasks, sizes, strict=True)):
            assert (await task).outputs[0].data.tolist() == [2 * (number + 100)] * int(rows)
