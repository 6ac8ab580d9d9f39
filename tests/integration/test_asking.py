"""Models whose code asks other models of the same server, in the server, in workers, and across."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from other_pythons import OTHERS, PACKAGES, make_environment

from mlsrv import Kernel, ModelSettings, ask
from mlsrv.authorization import Principal
from mlsrv.context import CallContext, current_context
from mlsrv.errors import DeadlineExceeded, MLSrvError, ModelFailed, PermissionDenied
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest

CODE = '''
import asyncio

import numpy as np

from mlsrv import MLModel, ask
from mlsrv.context import current_context
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput


def numbers(name, values):
    values = np.asarray(values)
    return RequestInput(name, list(values.shape), "INT64", values)


def answer(values, **parameters):
    values = np.asarray(values)
    output = ResponseOutput("y", list(values.shape), "INT64", values)
    return InferenceResponse(outputs=[output], parameters=Parameters(**parameters) if parameters else None)


class Double(MLModel):
    def predict(self, payload):
        context = current_context.get()
        seen = {"trace": context.trace.get("traceparent", ""), "id": context.request_id}
        seen["principal"] = context.principal.name if context.principal else ""
        seen["seconds"] = context.remaining if context.remaining is not None else -1.0
        return answer(payload.inputs[0].data * 2, **seen)


class Asks(MLModel):
    """Asks the model that its settings name, as often as they say."""

    async def predict(self, payload):
        extra = self.settings.parameters.extra
        question = InferenceRequest([numbers("x", payload.inputs[0].data)], model_name=extra["model"])
        answers = await asyncio.gather(*(ask(question) for _ in range(extra.get("times", 1))))
        found = answers[0].outputs[0].data + 1
        parameters = answers[0].parameters
        return answer(found, **(parameters.dict() if parameters is not None else {}))


class AsksInStream(MLModel):
    async def predict_stream(self, payloads):
        async for payload in payloads:
            question = InferenceRequest([numbers("x", payload.inputs[0].data)], model_name="double")
            for _ in range(2):
                yield await ask(question)


class AsksSlowly(MLModel):
    async def predict(self, payload):
        question = InferenceRequest([numbers("x", [1])], model_name="waits")
        try:
            async with asyncio.timeout(0.1):
                await ask(question)
        except TimeoutError:
            return answer([7])


class Waits(MLModel):
    async def predict(self, payload):
        await asyncio.sleep(60)


class Fails(MLModel):
    def predict(self, payload):
        raise ValueError("broken")


class AsksInThread(MLModel):
    def predict(self, payload):
        return asyncio.run(ask(InferenceRequest([numbers("x", [1])], model_name="double")))
'''


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "asking_models.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "asking_models"


def model(
    code: str,
    name: str,
    cls: str,
    executor: str = "workers",
    batching: Mapping[str, Any] = {},
    **extra: Any,
) -> ModelSettings:
    return ModelSettings(
        name=name,
        implementation=f"{code}.{cls}",
        executor=executor,
        parameters={"extra": extra},
        **batching,
    )


async def answered(kernel: Kernel, name: str, value: Any = 3, context: CallContext | None = None) -> Any:
    response = await kernel.infer(tensor_request(name, [value]), context)
    return response.outputs[0].data.tolist()


@pytest.mark.parametrize("of_asked", ["inline", "workers"])
@pytest.mark.parametrize("of_asking", ["inline", "workers"])
async def test_wherever_models_run(code: str, of_asking: str, of_asked: str) -> None:
    models = [
        model(code, "double", "Double", of_asked),
        model(code, "asks", "Asks", of_asking, model="double", times=3),
    ]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        assert await answered(kernel, "asks") == [7]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", [f"{sys.version_info[0]}.{sys.version_info[1]}", OTHERS[-1]])
async def test_from_an_environment_of_its_own(tmp_path: Path, version: str) -> None:
    own = make_environment(
        tmp_path / "environment", version, *(PACKAGES[version] if version in OTHERS else ())
    )
    for name, cls, parameters in (
        ("double", "Double", {}),
        ("asks", "Asks", {"environment_path": str(own), "extra": {"model": "double", "times": 2}}),
    ):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "asking_models.py").write_text(CODE, encoding="utf-8")
        settings = {"name": name, "implementation": f"asking_models.{cls}", "parameters": parameters}
        (folder / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
    async with Kernel({"parallel_workers": 1, "model_repository_root": str(tmp_path / "models")}) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
        assert await answered(kernel, "asks") == [7]


@pytest.mark.parametrize("executor", ["inline", "workers"])
async def test_in_a_stream(code: str, executor: str) -> None:
    models = [model(code, "double", "Double"), model(code, "asks", "AsksInStream", executor)]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()

        async def payloads() -> AsyncIterator[InferenceRequest]:
            for number in (1, 2):
                yield tensor_request("asks", [number])

        found = [answer.outputs[0].data.tolist() async for answer in kernel.stream(payloads())]
        assert found == [[2], [2], [4], [4]]


@pytest.mark.parametrize("executor", ["inline", "workers"])
async def test_with_batching(code: str, executor: str) -> None:
    batching = {"max_batch_size": 4, "max_batch_time": 0.2}
    models = [
        model(code, "double", "Double", "workers", batching),
        model(code, "asks", "Asks", executor, batching, model="double"),
    ]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        found = await asyncio.gather(*(answered(kernel, "asks", number) for number in range(8)))
        assert found == [[2 * number + 1] for number in range(8)]


async def test_large_tensors_go_through_shared_memory(code: str) -> None:
    models = [model(code, "double", "Double"), model(code, "asks", "Asks", model="double")]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        response = await kernel.infer(tensor_request("asks", list(range(200_000))))
        assert response.outputs[0].data[-1] == 199_999 * 2 + 1


async def test_no_deadlock_when_all_workers_wait_for_each_other(code: str) -> None:
    chain = [model(code, f"a{number}", "Asks", model=f"a{number + 1}") for number in range(5)]
    models = [*chain, model(code, "a5", "Double")]
    settings = {"parallel_workers": 1, "worker_concurrency": 1}
    async with Kernel(settings, models=models) as kernel:
        await kernel.loaded()
        found = await asyncio.wait_for(asyncio.gather(*(answered(kernel, "a0") for _ in range(200))), 60)
        assert found == [[11]] * 200
        assert await answered(kernel, "a0") == [11]


async def test_the_context_travels_with_the_question(code: str) -> None:
    models = [model(code, "double", "Double"), model(code, "asks", "Asks", model="double")]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        context = CallContext(
            "the-id", time.monotonic() + 50, trace=trace, principal=Principal("ann", {"infer": ["*"]})
        )
        response = await kernel.infer(tensor_request("asks", [1]), context)
        assert response.parameters is not None
        seen = response.parameters.dict()
        assert (seen["id"], seen["principal"]) == ("the-id", "ann")
        assert seen["trace"] == trace["traceparent"]
        assert 0 < seen["seconds"] <= 50


@pytest.mark.parametrize("executor", ["inline", "workers"])
async def test_a_question_needs_the_right_of_who_asks(code: str, executor: str) -> None:
    models = [model(code, "double", "Double"), model(code, "asks", "Asks", executor, model="double")]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        context = CallContext(principal=Principal("ann", {"infer": ["asks"]}))
        with pytest.raises(PermissionDenied, match="ann has no right infer for model double"):
            await answered(kernel, "asks", context=context)


@pytest.mark.parametrize("executor", ["inline", "workers"])
async def test_errors_come_back(code: str, executor: str) -> None:
    models = [
        model(code, "fails", "Fails"),
        model(code, "asks", "Asks", executor, model="fails"),
        model(code, "lost", "Asks", executor, model="nothing"),
    ]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        with pytest.raises(ModelFailed, match="ValueError"):
            await answered(kernel, "asks")
        # To name a model that is not there is the fault of the code, not of the client.
        with pytest.raises(ModelFailed, match="ModelNotFound: Model nothing not found"):
            await answered(kernel, "lost")


@pytest.mark.parametrize("executor", ["inline", "workers"])
async def test_a_circle_ends(code: str, executor: str) -> None:
    models = [model(code, "a", "Asks", executor, model="b"), model(code, "b", "Asks", executor, model="a")]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        with pytest.raises(ModelFailed, match="in a circle"):
            await asyncio.wait_for(answered(kernel, "a"), 30)


@pytest.mark.parametrize("executor", ["inline", "workers"])
async def test_synchronous_code_cannot_ask(code: str, executor: str) -> None:
    models = [model(code, "double", "Double"), model(code, "asks", "AsksInThread", executor)]
    async with Kernel({"parallel_workers": 1, "worker_short_calls": False}, models=models) as kernel:
        await kernel.loaded()
        with pytest.raises(MLSrvError, match=r"Only asynchronous code|another event loop"):
            await answered(kernel, "asks")
        assert await answered(kernel, "double") == [6]


@pytest.mark.parametrize("executor", ["inline", "workers"])
async def test_a_question_may_be_given_up(code: str, executor: str) -> None:
    models = [model(code, "waits", "Waits"), model(code, "asks", "AsksSlowly", executor)]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        assert await answered(kernel, "asks") == [7]
        late = CallContext.with_timeout(0.2)
        with pytest.raises(DeadlineExceeded):
            await answered(kernel, "waits", context=late)
        assert await answered(kernel, "asks") == [7]


async def test_a_late_request_ends_its_questions(code: str) -> None:
    models = [model(code, "waits", "Waits"), model(code, "asks", "Asks", model="waits")]
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        with pytest.raises(DeadlineExceeded):
            await answered(kernel, "asks", context=CallContext.with_timeout(0.3))
        await asyncio.wait_for(kernel.unload("waits"), 30)


async def test_outside_a_request_there_is_nothing_to_ask() -> None:
    with pytest.raises(ModelFailed, match="while a request is answered"):
        await ask(tensor_request("m", [1]))


async def test_an_executor_that_takes_no_questions() -> None:
    token = current_context.set(CallContext())
    try:
        with pytest.raises(ModelFailed, match="executor of this model takes no questions"):
            await ask(tensor_request("m", [1]))
    finally:
        current_context.reset(token)
