"""Definition: what a pipeline's settings may say."""

from __future__ import annotations

from typing import Any

import pytest

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv_pipeline.definition import Reference, read


def settings(**extra: Any) -> ModelSettings:
    return ModelSettings(name="p", implementation="pipeline", parameters={"extra": extra})


def test_steps_come_after_those_that_they_need() -> None:
    last = {"model": "c", "inputs": {"x": "b.y"}}
    found = read(settings(steps=[last, {"model": "b", "when": {"a.y": 1}}, {"model": "a"}]))
    assert [step.name for step in found.steps] == ["a", "b", "c"]
    assert found.steps[2].inputs == {"x": Reference("b", "y")}


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({}, "steps: expected a list of steps"),
        ({"steps": []}, "steps: expected a list of steps"),
        ({"steps": [{"model": "a"}], "output": {}}, 'unknown key "output"; there are steps, outputs'),
        ({"steps": ["a"]}, "steps[0]: expected an object, got 'a'"),
        ({"steps": [{"model": 7}]}, "steps[0].model: expected the name of a model"),
        ({"steps": [{"model": "a", "modle": "b"}]}, 'steps[0]: unknown key "modle"'),
        ({"steps": [{"model": "p"}]}, "steps[0]: a pipeline cannot ask itself"),
        ({"steps": [{"model": "a"}, {"model": "a"}]}, 'steps[0]: the name "a" is taken'),
        ({"steps": [{"model": "a", "name": "request"}]}, 'steps[0]: the name "request" is taken'),
        (
            {"steps": [{"model": "a", "inputs": {"x": "y"}}]},
            'expected "STEP.OUTPUT" or "request.INPUT", got \'y\'',
        ),
        ({"steps": [{"model": "a", "inputs": {"x": "b.y"}}]}, 'steps[0]: there is no step "b"; there are a'),
        ({"steps": [{"model": "a", "inputs": []}], "outputs": []}, None),
        ({"steps": [{"model": "a", "when": 7}]}, "steps[0].when: expected an object, got 7"),
        ({"steps": [{"model": "a"}], "outputs": {"y": "b.y"}}, 'outputs: there is no step "b"'),
        (
            {"steps": [{"model": "a", "inputs": {"x": "b.y"}}, {"model": "b", "inputs": {"x": "a.y"}}]},
            "steps: these steps wait for each other: a, b",
        ),
    ],
)
def test_mistakes(extra: dict[str, Any], sentence: str | None) -> None:
    if sentence is None:
        assert len(read(settings(**extra)).steps) == 1
        return
    with pytest.raises(ModelLoadError) as caught:
        read(settings(**extra))
    assert str(caught.value).startswith("Model p: parameters.extra")
    assert sentence in str(caught.value)
