"""Watching a repository, whatever it is; mlsrv-files tries it with real files."""

import asyncio
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from kernel_parts import Gate, Shelf, ask, ask_or_error, shelved

import mlsrv
from mlsrv import Kernel, ModelSettings
from mlsrv.errors import ConfigurationError, RepositoryError
from mlsrv.repository import BrokenModel
from mlsrv.testing import EchoModel, Offering
from mlsrv_testing.contracts.running import eventually


class Watched(Shelf):
    """A shelf whose models have stamps; an exception among those is raised."""

    def __init__(self, root: str, models: Any = (), stamps: dict[str, Hashable] | None = None) -> None:
        super().__init__(root, models)
        self.marks = {} if stamps is None else stamps

    async def stamps(self) -> Any:
        if "nonsense" in self.marks:
            return 5
        for mark in self.marks.values():
            if isinstance(mark, BaseException):
                raise mark
        return dict(self.marks)


def watching(models: list[Any], stamps: dict[str, Any], **settings: Any) -> Kernel:
    return Kernel(
        {
            "model_repository_root": "shelf",
            "model_repository_implementation": "watched",
            "model_repository_implementation_args": {"models": models, "stamps": stamps},
            "model_repository_poll": 0.01,
            **settings,
        },
        plugins=[Offering(mlsrv.RepositoryOffer("watched", Watched))],
        discover=False,
    )


def model(name: str = "m", cls: type = EchoModel) -> ModelSettings:
    return ModelSettings(name=name, implementation=cls, source=Path("/shelf", name))


async def test_a_repository_that_cannot_be_watched_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^model_repository_poll: a Shelf cannot be watched\.$"):
        async with shelved([], model_repository_poll=1):
            pass


async def test_there_must_be_a_repository() -> None:
    with pytest.raises(ConfigurationError, match="without model_repository_root there is nothing to watch"):
        async with Kernel({"model_repository_poll": 1}, discover=False):
            pass


@pytest.mark.parametrize("seconds", [0, -1, "often"])
def test_it_takes_a_number_of_seconds(seconds: object) -> None:
    with pytest.raises(ConfigurationError, match="model_repository_poll"):
        Kernel({"model_repository_poll": seconds}, discover=False)


async def test_models_of_a_failed_start_are_loaded_later() -> None:
    models: list[Any] = [RepositoryError("The shelf is locked.")]
    async with watching(models, {}) as kernel:
        await kernel.loaded()
        assert kernel.problems() == ["The shelf is locked."]
        models[:] = [model()]
        await eventually("the server being ready", lambda: kernel.ready)
        assert await ask(kernel) == "hi"


async def test_a_repository_that_raises_anything_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    stamps: dict[str, Any] = {"/shelf/m": 1}
    async with watching([model()], stamps) as kernel:
        await kernel.loaded()
        stamps["/shelf/n"] = ZeroDivisionError("not a disk")
        await eventually("a warning", lambda: "ZeroDivisionError: not a disk" in caplog.text)
        assert await ask(kernel) == "hi"
        del stamps["/shelf/n"]
        stamps["/shelf/m"] = 2
        before = kernel.handle("m").instance
        await eventually("the reload", lambda: kernel.handle("m").instance is not before)
    assert caplog.text.count("not a disk") == 1


async def test_a_repository_that_answers_nonsense_does_not_end_the_watching(
    caplog: pytest.LogCaptureFixture,
) -> None:
    models: list[Any] = []
    stamps: dict[str, Any] = {}
    async with watching(models, stamps) as kernel:
        await kernel.loaded()
        stamps["nonsense"] = 1
        await eventually("a warning", lambda: "AttributeError" in caplog.text)
        del stamps["nonsense"]
        models.append(model())
        stamps["/shelf/m"] = 1
        await eventually("the model", lambda: _ready(kernel, "m"))


async def test_a_slow_load_does_not_keep_others_from_being_loaded() -> None:
    gate = Gate()

    class Slow(EchoModel):
        async def load(self) -> bool:
            await gate.pass_through()
            return True

    models: list[Any] = []
    stamps: dict[str, Any] = {}
    async with watching(models, stamps) as kernel:
        await kernel.loaded()
        models.append(model("slow", Slow))
        stamps["/shelf/slow"] = 1
        await gate.reached.wait()
        models.append(model("quick"))
        stamps["/shelf/quick"] = 1
        await eventually("the other model", lambda: _ready(kernel, "quick"))
        assert await ask_or_error(kernel, "slow") == "NOT_READY"
        gate.open.set()
        await eventually("the slow model", lambda: _ready(kernel, "slow"))


async def test_the_kernel_stops_while_a_changed_model_is_being_loaded() -> None:
    gate = Gate()

    class Stuck(EchoModel):
        async def load(self) -> bool:
            await gate.pass_through()
            return True

    models: list[Any] = []
    stamps: dict[str, Any] = {}
    async with asyncio.timeout(20):
        async with watching(models, stamps) as kernel:
            await kernel.loaded()
            models.append(model("stuck", Stuck))
            stamps["/shelf/stuck"] = 1
            await gate.reached.wait()


async def test_a_new_broken_model_shows_its_reason() -> None:
    models: list[Any] = []
    stamps: dict[str, Any] = {}
    async with watching(models, stamps) as kernel:
        await kernel.loaded()
        models.append(BrokenModel("b", "/shelf/b", "It fell down."))
        stamps["/shelf/b"] = 1
        await eventually("a reason", lambda: _reason(kernel, "b") == "Model b: It fell down.")
        assert kernel.ready
        models.clear()
        stamps.clear()
        await eventually("the model being forgotten", lambda: kernel.model_names() == [])


def _ready(kernel: Kernel, name: str) -> bool:
    return name in kernel.model_names() and kernel.model_ready(name)


def _reason(kernel: Kernel, name: str) -> str:
    return kernel.handle(name).reason if name in kernel.model_names() else ""
