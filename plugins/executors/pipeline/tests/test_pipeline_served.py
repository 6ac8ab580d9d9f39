"""Pipelines in a kernel: steps, branches, failures, and models in workers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.context import CallContext, current_context
from mlsrv.errors import DeadlineExceeded, InferenceError, ModelFailed, ModelNotFound
from mlsrv.testing import tensor_request
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput

ADDER = """
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Adder(MLModel):
    def predict(self, payload):
        values = payload.inputs[0].data + self.settings.parameters.extra["add"]
        return InferenceResponse(outputs=[ResponseOutput("y", list(values.shape), "INT64", values)])
"""


class Adder(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        values = np.asarray(payload.inputs[0].data) + self.settings.parameters.extra.get("add", 0)
        return InferenceResponse(outputs=[ResponseOutput("y", list(values.shape), "INT64", values)])


class Fails(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise InferenceError("not this one")


class Told(MLModel):
    seen: list[CallContext]

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        context = current_context.get()
        assert context is not None
        type(self).seen.append(context)
        return InferenceResponse(outputs=[])


class Waits(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.sleep(60)
        raise AssertionError


def adder(name: str, add: int) -> ModelSettings:
    return ModelSettings(name=name, implementation=Adder, parameters={"extra": {"add": add}})


def pipeline(*steps: dict[str, Any], name: str = "p", **more: Any) -> ModelSettings:
    extra = {"steps": list(steps), **more}
    return ModelSettings(name=name, implementation="pipeline", parameters={"extra": extra})


async def answer(*models: ModelSettings, values: Any = (1, 2), context: CallContext | None = None) -> Any:
    async with Kernel({"parallel_workers": 0}, models=models) as kernel:
        await kernel.loaded()
        assert kernel.ready, kernel.problems()
        found = await kernel.infer(tensor_request("p", values, id="7"), context)
        assert (found.model_name, found.id) == ("p", "7")
        return {output.name: list(output.data) for output in found.outputs}


async def test_steps_one_after_the_other() -> None:
    steps = {"model": "a"}, {"model": "b", "inputs": {"x": "a.y"}}
    assert await answer(adder("a", 1), adder("b", 10), pipeline(*steps)) == {"y": [12, 13]}


async def test_steps_side_by_side_have_outputs_of_their_own() -> None:
    found = await answer(adder("a", 1), adder("b", 10), pipeline({"model": "a"}, {"model": "b"}))
    assert found == {"a.y": [2, 3], "b.y": [11, 12]}


@pytest.mark.parametrize(("first", "expected"), [(0, {"out": [10]}), (5, {"out": [6]})])
async def test_a_branch_and_an_output_of_the_step_that_ran(first: int, expected: dict[str, Any]) -> None:
    steps = {"name": "one", "model": "a"}, {"name": "two", "model": "b", "when": {"one.y": 1}}
    definition = pipeline(*steps, outputs={"out": ["two.y", "one.y"]})
    assert await answer(adder("a", 1), adder("b", 10), definition, values=[first]) == expected


async def test_a_step_whose_inputs_are_not_there_does_not_run() -> None:
    steps = (
        {"model": "a"},
        {"model": "b", "when": {"a.y": 999}},
        {"model": "c", "inputs": {"x": "b.y"}},
    )
    found = await answer(
        adder("a", 1), adder("b", 1), adder("c", 1), pipeline(*steps, outputs={"c": "c.y", "a": "a.y"})
    )
    assert found == {"a": [2, 3]}


async def test_deadline_trace_and_id_reach_the_models() -> None:
    Told.seen = []
    context = CallContext("id", deadline=time.monotonic() + 50, trace={"traceparent": "t"}, priority=2)
    told = ModelSettings(name="a", implementation=Told)
    await answer(told, pipeline({"model": "a"}, {"name": "again", "model": "a"}), context=context)
    assert [found.request_id for found in Told.seen] == ["id", "id"]
    assert {found.trace["traceparent"] for found in Told.seen} == {"t"}
    assert {found.priority for found in Told.seen} == {2}
    assert all(found.deadline is not None and found.deadline <= context.deadline for found in Told.seen)


@pytest.mark.parametrize(
    ("models", "steps", "error", "text"),
    [
        ([], [{"model": "nobody"}], ModelNotFound, "nobody"),
        ([ModelSettings(name="a", implementation=Fails)], [{"model": "a"}], InferenceError, "not this one"),
        (
            [adder("a", 1)],
            [{"model": "a", "inputs": {"x": "request.z"}}],
            InferenceError,
            "needs the input z",
        ),
        (
            [adder("a", 1), adder("b", 1)],
            [{"model": "a"}, {"model": "b", "inputs": {"x": "a.z"}}],
            ModelFailed,
            "there is no output a.z; the step has y",
        ),
    ],
    ids=["unknown", "refused", "input", "output"],
)
async def test_failures(models: Any, steps: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        await answer(*models, pipeline(*steps))


async def test_a_deadline_ends_the_pipeline() -> None:
    waits = ModelSettings(name="a", implementation=Waits)
    with pytest.raises(DeadlineExceeded):
        await answer(waits, pipeline({"model": "a"}), context=CallContext.with_timeout(0.5))


async def test_pipelines_that_ask_each_other_in_a_circle() -> None:
    with pytest.raises(ModelFailed, match="ask each other in a circle"):
        await answer(pipeline({"model": "q"}), pipeline({"model": "p"}, name="q"))


async def test_a_pipeline_that_is_placed_elsewhere_says_so() -> None:
    model = ModelSettings(
        name="p",
        implementation="pipeline",
        executor="inline",
        parameters={"extra": {"steps": [{"model": "a"}]}},
    )
    async with Kernel(models=[model]) as kernel:
        await kernel.loaded()
        assert 'a pipeline runs in the executor "pipeline"' in kernel.problems()[0]


async def test_many_requests_through_one_worker_do_not_wait_for_each_other(tmp_path: Path) -> None:
    pytest.importorskip("mlsrv_workers")
    models = [pipeline({"model": "a"}, {"model": "b", "inputs": {"x": "a.y"}})]
    for name, add in (("a", 1), ("b", 10)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adders.py").write_text(ADDER, encoding="utf-8")
        models.append(
            ModelSettings(
                name=name,
                implementation="adders.Adder",
                parameters={"extra": {"add": add}},
                source=folder / "model-settings.json",
            )
        )
    async with Kernel({"parallel_workers": 1}, models=models) as kernel:
        await kernel.loaded()
        assert kernel.ready, kernel.problems()
        requests = [tensor_request("p", [number]) for number in range(50)]
        answers = await asyncio.wait_for(asyncio.gather(*map(kernel.infer, requests)), 90)
    assert [found.outputs[0].data.tolist() for found in answers] == [[number + 11] for number in range(50)]


@pytest.mark.parametrize("executor", ["inline", "workers"])
async def test_an_artifact_of_tempo_is_refused_with_the_reason(executor: str) -> None:
    model = ModelSettings(
        name="old", implementation="tempo.mlserver.InferenceRuntime", parameters={"uri": "./pipeline"}
    )
    async with Kernel({"executor": executor, "parallel_workers": 1}, models=[model]) as kernel:
        await kernel.loaded()
        (problem,) = kernel.problems()
        assert "Tempo needs pydantic 1" in problem
        assert "mlsrv.ask" in problem
