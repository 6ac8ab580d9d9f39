"""Definition: the steps of a pipeline, read from the settings of its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings

REQUEST = "request"
"""The name under which steps find the request itself."""

_STEP = ("name", "model", "version", "inputs", "when", "parameters")
_PIPELINE = ("steps", "outputs")


@frozen
class Reference:
    """One tensor: an input of the request, or an output of a step."""

    step: str
    tensor: str

    def __str__(self) -> str:
        return f"{self.step}.{self.tensor}"


@frozen
class Step:
    """One model that is asked.

    Attributes:
        name: of the step.
        model, version: that are asked.
        inputs: by the name that the model knows; empty for the inputs of the request.
        when: the step runs only if the first element of each of these tensors equals the value.
        parameters: of the request to the model.
    """

    name: str
    model: str
    version: str | None = None
    inputs: Mapping[str, Reference] = field(factory=dict)
    when: Mapping[Reference, Any] = field(factory=dict)
    parameters: Mapping[str, Any] = field(factory=dict)

    @property
    def needs(self) -> set[str]:
        """The steps that come before it."""
        return {found.step for found in (*self.inputs.values(), *self.when)} - {REQUEST}


@frozen
class Definition:
    """The steps of a pipeline, each after those that it needs, and its outputs.

    Attributes:
        steps: in an order in which they can run.
        outputs: by name, the tensors that may be it: the first whose step ran counts. Empty: every output of
            the steps that no other step needs.
    """

    steps: tuple[Step, ...]
    outputs: Mapping[str, tuple[Reference, ...]]


def read(settings: ModelSettings) -> Definition:
    """Return the pipeline in ``parameters.extra`` of a model.

    Raises:
        ModelLoadError: it is none; the sentence names the place.
    """
    extra = settings.parameters.extra
    reader = _Reader(settings.name)
    reader.check_keys("", extra, _PIPELINE)
    listed = extra.get("steps")
    if not isinstance(listed, list) or not listed:
        raise reader.wrong("steps", "expected a list of steps")
    steps = [reader.step(index, value) for index, value in enumerate(listed)]
    names = [step.name for step in steps]
    for index, step in enumerate(steps):
        where = f"steps[{index}]"
        if step.name == REQUEST or names.count(step.name) > 1:
            raise reader.wrong(where, f'the name "{step.name}" is taken; give the step another one')
        if step.model == settings.name:
            raise reader.wrong(where, "a pipeline cannot ask itself")
        reader.check_steps(where, step.needs, names)
    outputs = reader.outputs(extra.get("outputs") or {})
    reader.check_steps("outputs", {found.step for several in outputs.values() for found in several}, names)
    return Definition(tuple(reader.ordered(steps)), outputs)


class _Reader:
    def __init__(self, model: str) -> None:
        self._model = model

    def wrong(self, where: str, what: str) -> ModelLoadError:
        place = f"parameters.extra.{where}" if where else "parameters.extra"
        return ModelLoadError(f"Model {self._model}: {place}: {what}.")

    def check_keys(self, where: str, values: object, known: tuple[str, ...]) -> None:
        if not isinstance(values, Mapping):
            raise self.wrong(where, f"expected an object, got {values!r:.60}")
        for key in values:
            if key not in known:
                raise self.wrong(where, f'unknown key "{key}"; there are {", ".join(known)}')

    def check_steps(self, where: str, wanted: set[str], names: list[str]) -> None:
        unknown = sorted(wanted - {*names, REQUEST})
        if unknown:
            raise self.wrong(where, f'there is no step "{unknown[0]}"; there are {", ".join(names)}')

    def step(self, index: int, values: Any) -> Step:
        where = f"steps[{index}]"
        self.check_keys(where, values, _STEP)
        model = values.get("model")
        if not isinstance(model, str) or not model:
            raise self.wrong(f"{where}.model", "expected the name of a model")
        inputs, when = values.get("inputs") or {}, values.get("when") or {}
        for key, found in (
            ("inputs", inputs),
            ("when", when),
            ("parameters", values.get("parameters") or {}),
        ):
            if not isinstance(found, Mapping):
                raise self.wrong(f"{where}.{key}", f"expected an object, got {found!r:.60}")
        return Step(
            name=str(values.get("name") or model),
            model=model,
            version=None if values.get("version") is None else str(values["version"]),
            inputs={name: self.reference(f"{where}.inputs.{name}", text) for name, text in inputs.items()},
            when={self.reference(f"{where}.when", text): value for text, value in when.items()},
            parameters=values.get("parameters") or {},
        )

    def outputs(self, values: Any) -> dict[str, tuple[Reference, ...]]:
        if not isinstance(values, Mapping):
            raise self.wrong("outputs", f"expected an object, got {values!r:.60}")
        return {
            name: tuple(
                self.reference(f"outputs.{name}", text) for text in (one if isinstance(one, list) else [one])
            )
            for name, one in values.items()
        }

    def reference(self, where: str, text: object) -> Reference:
        step, dot, tensor = str(text).partition(".")
        if not (isinstance(text, str) and step and dot and tensor):
            raise self.wrong(where, f'expected "STEP.OUTPUT" or "request.INPUT", got {text!r:.60}')
        return Reference(step, tensor)

    def ordered(self, steps: list[Step]) -> list[Step]:
        """Return the steps, each after those that it needs."""
        made: list[Step] = []
        waiting = list(steps)
        while waiting:
            done = {step.name for step in made}
            free = [step for step in waiting if step.needs <= done]
            if not free:
                circle = ", ".join(step.name for step in waiting)
                raise self.wrong("steps", f"these steps wait for each other: {circle}")
            made += free
            waiting = [step for step in waiting if step not in free]
        return made
