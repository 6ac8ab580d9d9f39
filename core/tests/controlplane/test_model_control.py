"""The control plane: the start, the index, and what keeps the server from being ready."""

import asyncio
from typing import Any

import pytest
from kernel_parts import Gate, ask, ask_or_error, model, shelved

from mlsrv import Kernel
from mlsrv.errors import ModelLoadError, ModelNotFound, RepositoryError, ServerNotReady
from mlsrv.executor import Executor, ModelInfo, Placement
from mlsrv.plugins.offers import ExecutorOffer, RepositoryOffer
from mlsrv.repository import BrokenModel
from mlsrv.testing import EchoModel, MemoryRepository, Offering
from mlsrv.types import State


class Failing(EchoModel):
    async def load(self) -> bool:
        raise ValueError("no such weights")


async def index(kernel: Kernel, ready: bool | None = None) -> list[tuple[str, str | None, str, str]]:
    return [(one.name, one.version, str(one.state), one.reason) for one in await kernel.index(ready)]


# --- ready -------------------------------------------------------------------------------------------


async def test_ready_means_that_every_model_of_the_start_answers() -> None:
    gate = Gate()

    class Slow(EchoModel):
        async def load(self) -> bool:
            await gate.pass_through()
            return True

    kernel = shelved([model("quick"), model("slow", Slow)])
    assert (kernel.ready, kernel.problems()) == (False, ["The server has not started."])
    async with kernel:
        assert kernel.problems()[0] == "The server is loading its models."
        await gate.reached.wait()
        async with asyncio.timeout(10):
            while not kernel.model_ready("quick"):
                await asyncio.sleep(0)
        assert kernel.problems() == ["The server is loading its models.", "Model slow: its state is LOADING"]
        assert await ask(kernel, "quick") == "hi"
        assert await ask_or_error(kernel, "slow") == "NOT_READY"
        gate.open.set()
        await kernel.loaded()
        assert (kernel.ready, kernel.problems()) == (True, [])
    assert (kernel.ready, kernel.problems()) == (False, ["The server is stopping."])


async def test_a_model_that_failed_at_the_start_makes_the_server_unready() -> None:
    models = [model("m", Failing, "v1"), model("n")]
    async with shelved(models) as kernel:
        await kernel.loaded()
        assert kernel.problems() == ["Model m failed to load: ValueError: no such weights"]
        models[0] = model("m", version="v1")
        await kernel.load("m")
        assert kernel.ready


async def test_a_model_that_was_unloaded_through_the_api_does_not_make_the_server_unready() -> None:
    async with shelved([model("m"), model("n", Failing)]) as kernel:
        await kernel.loaded()
        await kernel.unload("m")
        await kernel.unload("n")
        assert kernel.ready
        assert await index(kernel) == [("m", None, "UNAVAILABLE", ""), ("n", None, "UNAVAILABLE", "")]


async def test_a_model_that_was_unloaded_through_the_api_can_be_unknown_to_clients() -> None:
    async with shelved([model("m")], unloaded_models="not_found") as kernel:
        await kernel.loaded()
        await kernel.unload("m")
        for asked in (kernel.model_ready, kernel.model_metadata, kernel.handle):
            with pytest.raises(ModelNotFound, match="Model m not found"):
                asked("m")
        assert await index(kernel) == [("m", None, "UNAVAILABLE", "")]
        await kernel.load("m")
        assert kernel.model_ready("m")


async def test_a_failed_first_load_through_the_api_does_not_make_the_server_unready() -> None:
    async with shelved([model("m"), model("late", Failing)], load_models_at_startup=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
        await kernel.load("m")
        with pytest.raises(ModelLoadError):
            await kernel.load("late")
        assert kernel.ready
        assert kernel.handle("late").reason == "Model late failed to load: ValueError: no such weights"


async def test_an_unhealthy_executor_or_placement_is_a_problem() -> None:
    class Sick(Executor):
        sick = False

        def claims(self, model: Any) -> bool:
            return True

        async def load(self, model: Any) -> Placement:
            return await self.kernel._executors["inline"].load(model)

        @property
        def problem(self) -> str | None:
            return "All workers of the pool are gone." if self.sick else None

    plugins = [Offering(ExecutorOffer("pool", Sick))]
    async with Kernel(models=[model("m")], plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
        kernel._executors["pool"].sick = True  # type: ignore[attr-defined]  # of the class above
        assert kernel.problems() == ["All workers of the pool are gone."]


async def test_a_model_that_was_loaded_later_counts_from_then_on() -> None:
    class Limping(Placement):
        info = ModelInfo()
        problem = "Model m waits for its worker."  # type: ignore[assignment]  # always

        async def infer(self, request: Any, context: Any) -> Any: ...

        def stream(self, requests: Any, context: Any) -> Any: ...

        async def call(self, method: str, arguments: Any, context: Any) -> Any: ...

        async def unload(self) -> None: ...

    class Pool(Executor):
        def claims(self, model: Any) -> bool:
            return True

        async def load(self, model: Any) -> Placement:
            return Limping()

    offer = Offering(ExecutorOffer("pool", Pool))
    async with shelved([model("m")], offer, load_models_at_startup=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
        await kernel.load("m")
        assert kernel.problems() == ["Model m waits for its worker."]


# --- the start ---------------------------------------------------------------------------------------


async def test_before_the_repository_is_listed_a_model_is_not_unknown() -> None:
    listed = asyncio.Event()

    class Slow(MemoryRepository):
        async def list(self) -> Any:
            await listed.wait()
            return await super().list()

    settings = {
        "model_repository_root": "x",
        "model_repository_implementation": Slow.__name__,
        "model_repository_implementation_args": {"models": [model("m")]},
    }
    plugins = [Offering(RepositoryOffer(Slow.__name__, Slow))]
    async with Kernel(settings, plugins=plugins, models=[model("given")], discover=False) as kernel:
        assert await ask_or_error(kernel, "m") == "NOT_READY"
        with pytest.raises(ServerNotReady):
            kernel.model_ready("m")
        assert kernel.model_names() == ["given"]
        listed.set()
        await kernel.loaded()
        assert await ask(kernel, "m") == "hi"
        assert await ask_or_error(kernel, "other") == "NOT_FOUND"


async def test_models_are_listed_but_not_loaded() -> None:
    async with shelved([model("m", version="v1")], load_models_at_startup=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
        assert await ask_or_error(kernel) == "NOT_READY"
        assert await index(kernel) == [("m", "v1", "UNAVAILABLE", "")]
        assert await index(kernel, ready=True) == []


async def test_a_repository_that_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    contents: list[Any] = [OSError("disk on fire"), model("m")]
    async with shelved(contents) as kernel:
        await kernel.loaded()
        sentence = "The model repository cannot be read: OSError: disk on fire"
        assert kernel.problems() == [sentence]
        assert sentence in caplog.text
        assert await ask_or_error(kernel) == "NOT_READY"
        with pytest.raises(RepositoryError, match=r"disk on fire"):
            await kernel.index()
        with pytest.raises(RepositoryError, match=r"disk on fire"):
            await kernel.load("m")


async def test_paths_of_a_repository_are_held_back_as_error_details_says() -> None:
    contents: list[Any] = [OSError("/secret/models"), BrokenModel("m", "/secret", "/secret/m: no JSON", "v1")]
    async with shelved(contents, error_details="class") as kernel:
        await kernel.loaded()
        assert kernel.problems() == ["The model repository cannot be read: OSError; the log has the details"]
        for call in (kernel.index(), kernel.load("m")):
            with pytest.raises(RepositoryError) as caught:
                await call
            assert "secret" not in str(caught.value)
        del contents[0]
        told = "Model m: its description cannot be used: ConfigurationError; the log has the details"
        assert await index(kernel) == [("m", "v1", "UNAVAILABLE", told)]
        with pytest.raises(ModelLoadError, match="description cannot be used") as failed:
            await kernel.load("m")
        assert "secret" not in str(failed.value)


async def test_a_kernel_that_is_not_running() -> None:
    kernel = Kernel(discover=False)
    for call in (kernel.loaded(), kernel.index(), kernel.load("m"), kernel.unload("m")):
        with pytest.raises(ServerNotReady, match=r"not running"):
            await call
    with pytest.raises(ServerNotReady):
        await ask(kernel)


# --- the index ---------------------------------------------------------------------------------------


async def test_the_index_has_a_state_and_a_reason_for_each_version() -> None:
    models: list[Any] = [
        model("m", version="v10"),
        model("m", Failing, "v9"),
        BrokenModel("broken", "broken/model-settings.json", "is not valid JSON"),
    ]
    async with shelved(models) as kernel:
        await kernel.loaded()
        models.append(model("new"))
        models.append(BrokenModel("newer", "newer/model-settings.json", "has no name"))
        failed = "Model m failed to load: ValueError: no such weights"
        expected = [
            ("broken", None, "UNAVAILABLE", "Model broken: is not valid JSON"),
            ("m", "v9", "UNAVAILABLE", failed),
            ("m", "v10", "READY", ""),
            ("new", None, "UNAVAILABLE", ""),
            ("newer", None, "UNAVAILABLE", "has no name"),
        ]
        found = await index(kernel)
        assert [one for one in found if one[0] != "broken"] == [one for one in expected if one[0] != "broken"]
        assert "is not valid JSON" in found[0][3]
        assert await index(kernel, ready=True) == [("m", "v10", "READY", "")]
        assert len(await index(kernel, ready=False)) == 4


async def test_a_model_whose_folder_vanished_shows_only_while_it_is_loaded() -> None:
    models = [model("loaded"), model("failed", Failing)]
    async with shelved(models) as kernel:
        await kernel.loaded()
        models.clear()
        assert await index(kernel) == [("loaded", None, "READY", "")]
        assert kernel.ready
        assert await ask(kernel, "loaded") == "hi"
        await kernel.unload("loaded")
        assert await index(kernel) == []
        with pytest.raises(ModelNotFound):
            kernel.handle("loaded")


async def test_the_index_does_not_touch_a_model_that_is_loading() -> None:
    gate = Gate()

    class Slow(EchoModel):
        async def load(self) -> bool:
            await gate.pass_through()
            return True

    models: list[Any] = [model("m", Slow)]
    async with shelved(models) as kernel:
        await gate.reached.wait()
        models[:] = [BrokenModel("m", "m/model-settings.json", "is not valid JSON")]
        assert await index(kernel) == [("m", None, "LOADING", "")]
        models.clear()
        assert await index(kernel) == [("m", None, "LOADING", "")]
        gate.open.set()
        await kernel.loaded()
        assert kernel.handle("m").state is State.READY


async def test_asking_for_the_index_many_times_at_once() -> None:
    async with shelved([model("m")]) as kernel:
        await kernel.loaded()
        results = await asyncio.gather(*(index(kernel) for _ in range(20)))
        assert all(result == [("m", None, "READY", "")] for result in results)
