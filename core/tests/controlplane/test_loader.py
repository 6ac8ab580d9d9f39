"""Loads, reloads and unloads, alone and by many callers at once."""

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from kernel_parts import Gate, Intercepted, States, ask, ask_or_error, model, shelved, waiting_model

import mlsrv
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.controlplane import loader
from mlsrv.controlplane.loader import check_name
from mlsrv.errors import (
    DeadlineExceeded,
    ModelLoadError,
    ModelNotFound,
    ModelNotReady,
    Overloaded,
    ServerNotReady,
)
from mlsrv.executor import Executor, Placement
from mlsrv.interceptor import Interceptor
from mlsrv.repository import BrokenModel
from mlsrv.testing import EchoModel, Offering, make_kernel, text_request
from mlsrv.types import InferenceRequest, InferenceResponse, State


def answering(text: str) -> type[MLModel]:
    """A model that answers one text, in an event loop's turn of its own."""

    class Answering(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            await asyncio.sleep(0)
            return InferenceResponse(
                outputs=[{"name": "o", "shape": [1], "datatype": "BYTES", "data": [text]}]
            )

    return Answering


class Failing(EchoModel):
    async def load(self) -> bool:
        raise ValueError("no such weights")


# --- states ------------------------------------------------------------------------------------------


async def test_the_states_of_a_models_life() -> None:
    states = States()
    async with shelved([model("m")], states) as kernel:
        await kernel.loaded()
        await kernel.load("m")
        await kernel.unload("m")
        await kernel.load("m")
    assert states.seen == [
        *("m LOADING", "m READY"),
        "m READY",  # again: a reload switches without being away
        *("m UNLOADING", "m UNAVAILABLE"),
        *("m LOADING", "m READY"),
        *("m UNLOADING", "m UNAVAILABLE"),
    ]


async def test_a_failed_load_keeps_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    states = States()
    async with shelved([model("m", Failing)], states) as kernel:
        await kernel.loaded()
        handle = kernel.handle("m")
        reason = "Model m failed to load: ValueError: no such weights"
        assert (handle.state, handle.reason) == (State.UNAVAILABLE, reason)
        assert states.seen == ["m LOADING", f"m UNAVAILABLE: {reason}"]
        with pytest.raises(
            ModelNotReady, match=r"^Model m is not ready \(UNAVAILABLE\): Model m failed to load"
        ):
            await ask(kernel)
        with pytest.raises(ModelLoadError, match=r"no such weights"):
            await kernel.load("m")
    (record, *_) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "mlsrv.models"
    assert record.exc_info is not None  # the traceback is in the log, for the author of the model
    assert record.__dict__["model"] == "m"


class Refused(ModelLoadError):
    """An error of a model's own, made of more than its sentence."""

    def __init__(self, table: str, *, rows: int) -> None:
        super().__init__(f"The table {table} has {rows} rows.")
        self.what, self.raised = "The table is wrong", "Refused"


class Refusing(EchoModel):
    async def load(self) -> bool:
        raise Refused("weights", rows=3)


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ("full", "The table weights has 3 rows."),
        ("class", "The table is wrong: Refused; the log has the details"),
    ],
)
async def test_a_load_that_fails_by_an_error_of_its_own_class(details: str, told: str) -> None:
    settings = {"error_details": details}
    async with Kernel(settings, models=[model("m", Refusing)], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.handle("m").reason == told
        with pytest.raises(ModelLoadError):
            await kernel.load("m")
        assert kernel.handle("m").reason == told


async def test_a_failed_load_keeps_nothing_that_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader.logger, "disabled", True)  # pytest keeps every record, with its traceback

    class Weights:
        pass

    made: list[weakref.ref[Weights]] = []
    fails = True

    class Large(EchoModel):
        async def load(self) -> bool:
            weights = Weights()
            made.append(weakref.ref(weights))
            if fails:
                raise ValueError("no such weights")
            return True

    async with shelved([model("m", Large)]) as kernel:
        await kernel.loaded()
        fails = False
        await kernel.load("m")
        fails = True
        with pytest.raises(ModelLoadError):
            await kernel.load("m")
        assert kernel.handle("m").reason == (
            "The last reload failed: Model m failed to load: ValueError: no such weights"
        )
        with pytest.raises(ModelLoadError):
            await kernel.load("m")
        await asyncio.sleep(0)  # the turn that got the error ends
        gc.collect()
        assert len(made) == 4
        assert [ref() for ref in made] == [None] * 4


async def test_a_listener_that_raises_fails_no_load() -> None:
    class Deaf:
        @mlsrv.hookimpl
        def mlsrv_model_state(self) -> None:
            raise ValueError("deaf")

    async with Kernel(models=[model("m")], plugins=[Deaf()], discover=False) as kernel:
        await kernel.loaded()
        assert await ask(kernel) == "hi"


# --- reload ------------------------------------------------------------------------------------------


async def test_a_reload_switches_to_the_new_settings() -> None:
    models = [model("m", answering("old"))]
    async with shelved(models) as kernel:
        await kernel.loaded()
        assert await ask(kernel) == "old"
        models[0] = model("m", answering("new"), platform="toy")
        await kernel.load("m")
        assert await ask(kernel) == "new"
        assert kernel.model_metadata("m").platform == "toy"


async def test_a_failed_reload_keeps_the_old_instance() -> None:
    models = [model("m", answering("old"))]
    async with shelved(models) as kernel:
        await kernel.loaded()
        models[0] = model("m", Failing)
        with pytest.raises(ModelLoadError, match=r"no such weights"):
            await kernel.load("m")
        handle = kernel.handle("m")
        assert await ask(kernel) == "old"
        assert handle.state is State.READY
        assert handle.reason == "The last reload failed: Model m failed to load: ValueError: no such weights"
        assert kernel.ready
        models[0] = model("m", answering("new"))
        await kernel.load("m")
        assert (await ask(kernel), handle.reason) == ("new", "")


async def test_no_request_fails_while_a_model_is_reloaded_again_and_again() -> None:
    models = [model("m", answering("0"))]
    async with shelved(models) as kernel:
        await kernel.loaded()
        done, answers = False, []

        async def client() -> None:
            while not done:
                answers.append(await ask(kernel))

        clients = [asyncio.ensure_future(client()) for _ in range(8)]
        for number in range(1, 30):
            models[0] = model("m", answering(str(number)))
            await kernel.load("m")
        done = True
        await asyncio.gather(*clients)
        assert await ask(kernel) == "29"
    assert len(answers) > 100
    numbers = [int(answer) for answer in answers]
    assert set(numbers) > {0, 28}


async def test_the_old_instance_finishes_its_requests_before_it_is_unloaded() -> None:
    gate, events = Gate(), []

    class Old(waiting_model(gate)):  # type: ignore[misc]  # a class made by a function
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            response: InferenceResponse = await super().predict(payload)
            events.append("answered")
            return response

        async def unload(self) -> bool:
            events.append("unloaded")
            return True

    models = [model("m", Old)]
    async with shelved(models) as kernel:
        await kernel.loaded()
        running = asyncio.ensure_future(ask(kernel))
        await gate.reached.wait()
        models[0] = model("m", answering("new"))
        reload = asyncio.ensure_future(kernel.load("m"))
        while await ask_or_error_of(kernel) != "new":
            await asyncio.sleep(0)
        assert events == []
        gate.open.set()
        assert await running == "hi"
        await reload
        assert events == ["answered", "unloaded"]


async def ask_or_error_of(kernel: Kernel) -> str:
    try:
        return str(await asyncio.wait_for(ask(kernel), 0.01))
    except TimeoutError:
        return "waiting"


async def test_interceptors_are_made_for_each_load() -> None:
    made: list[Any] = []

    class Counting(Interceptor):
        def __init__(self) -> None:
            self.calls, self.entered, self.left = 0, 0, 0
            made.append(self)

        async def __aenter__(self) -> "Counting":
            self.entered += 1
            return self

        async def __aexit__(self, *exc_info: object) -> None:
            self.left += 1

        async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
            self.calls += 1
            return await call_next(request, context)

    async with shelved([model("m")], Intercepted(Counting)) as kernel:
        await kernel.loaded()
        await ask(kernel)
        await kernel.load("m")
        await ask(kernel)
        await ask(kernel)
        assert [(one.calls, one.entered, one.left) for one in made] == [(1, 1, 1), (2, 1, 0)]
    assert [(one.entered, one.left) for one in made] == [(1, 1), (1, 1)]


# --- versions ----------------------------------------------------------------------------------------


async def test_versions_live_side_by_side_and_the_unversioned_one_is_the_default() -> None:
    models = [model("m", answering("one"), "1"), model("m", answering("two"), "2")]
    async with shelved(models) as kernel:
        await kernel.loaded()
        assert [await ask(kernel, version=version) for version in ("1", "2", None)] == ["one", "two", "two"]
        models.append(model("m", answering("plain")))
        await kernel.load("m")
        assert [await ask(kernel, version=version) for version in ("1", "2", None)] == ["one", "two", "plain"]
        assert kernel.ready
        await kernel.unload("m", "2")
        with pytest.raises(ModelNotReady, match=r"^Model m with version 2 is not ready \(UNAVAILABLE\)$"):
            await ask(kernel, version="2")
        assert await ask(kernel, version="") == "plain"
        assert kernel.ready


async def test_one_version_is_loaded_alone_and_the_others_stay() -> None:
    models = [model("m", answering("one"), "1"), model("m", answering("two"), "2")]
    async with shelved(models) as kernel:
        await kernel.loaded()
        del models[0]
        await kernel.load("m", "2")
        assert await ask(kernel, version="1") == "one"
        with pytest.raises(ModelNotFound, match=r"^Model m with version 1 not found$"):
            await kernel.load("m", "1")


async def test_versions_that_left_the_repository_are_unloaded() -> None:
    models = [model("m", answering("one"), "1"), model("m", answering("two"), "2")]
    async with shelved(models) as kernel:
        await kernel.loaded()
        del models[1]
        await kernel.load("m")
        assert await ask(kernel) == "one"
        with pytest.raises(ModelNotFound, match=r"^Model m with version 2 not found$"):
            await ask(kernel, version="2")
        models.clear()
        with pytest.raises(ModelNotFound, match=r"^Model m not found$"):
            await kernel.load("m")
        assert await ask(kernel) == "one"


async def test_a_version_that_fails_does_not_stop_the_others_from_loading() -> None:
    models = [model("m", Failing, "1"), model("m", answering("two"), "2")]
    async with shelved(models, load_models_at_startup=False) as kernel:
        await kernel.loaded()
        with pytest.raises(ModelLoadError, match=r"no such weights"):
            await kernel.load("m")
        assert await ask(kernel) == "two"


# --- many callers ------------------------------------------------------------------------------------


async def test_callers_during_a_load_share_one_further_load() -> None:
    gate, loads = Gate(), []
    models: list[ModelSettings] = []

    def numbered(number: int) -> ModelSettings:
        class Numbered(answering(str(number))):  # type: ignore[misc]  # a class made by a function
            async def load(self) -> bool:
                loads.append(number)
                await gate.pass_through()
                return True

        return model("m", Numbered)

    models.append(numbered(0))
    async with shelved(models, load_models_at_startup=False) as kernel:
        await kernel.loaded()
        first = asyncio.ensure_future(kernel.load("m"))
        await gate.reached.wait()
        others = []
        for number in range(1, 20):
            models[0] = numbered(number)
            others.append(asyncio.ensure_future(kernel.load("m")))
            await asyncio.sleep(0.001)
        gate.open.set()
        await asyncio.gather(first, *others)
        assert loads == [0, 19]
        assert await ask(kernel) == "19"


async def test_a_load_after_an_unload_comes_after_it() -> None:
    gate = Gate()

    class Slow(EchoModel):
        async def load(self) -> bool:
            await gate.pass_through()
            return True

    async with shelved([model("m", Slow)], load_models_at_startup=False) as kernel:
        await kernel.loaded()
        first = asyncio.ensure_future(kernel.load("m"))
        await gate.reached.wait()
        second = asyncio.ensure_future(kernel.load("m"))
        await asyncio.sleep(0.001)
        unload = asyncio.ensure_future(kernel.unload("m"))
        await asyncio.sleep(0.001)
        third = asyncio.ensure_future(kernel.load("m"))
        await asyncio.sleep(0.001)
        gate.open.set()
        await asyncio.gather(first, second, unload, third)
        assert await ask(kernel) == "hi"


async def test_a_caller_who_goes_away_does_not_stop_a_load_or_an_unload() -> None:
    gate, unloading = Gate(), Gate()

    class Slow(EchoModel):
        async def load(self) -> bool:
            await gate.pass_through()
            return True

        async def unload(self) -> bool:
            await unloading.pass_through()
            return True

    async with shelved([model("m", Slow)], load_models_at_startup=False) as kernel:
        await kernel.loaded()
        caller = asyncio.ensure_future(kernel.load("m"))
        await gate.reached.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        gate.open.set()
        async with asyncio.timeout(10):
            while not kernel.model_ready("m"):
                await asyncio.sleep(0)
        caller = asyncio.ensure_future(kernel.unload("m"))
        await unloading.reached.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        unloading.open.set()
        async with asyncio.timeout(10):
            while kernel.handle("m").state is not State.UNAVAILABLE:
                await asyncio.sleep(0)


async def test_unload_twice_and_a_load_in_between() -> None:
    async with shelved([model("m")]) as kernel:
        await kernel.loaded()
        await asyncio.gather(kernel.unload("m"), kernel.unload("m"))
        assert await ask_or_error(kernel) == "NOT_READY"
        assert kernel.ready
        with pytest.raises(ModelNotFound):
            await kernel.unload("nothing")


# --- what stands in the way --------------------------------------------------------------------------


class Limping(Interceptor):
    """Raises where it is told to."""

    def __init__(self, enter: bool = False, leave: bool = False) -> None:
        self._enter, self._leave = enter, leave

    async def __aenter__(self) -> Interceptor:
        if self._enter:
            raise OSError("no cache")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._leave:
            raise OSError("cache is stuck")

    async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
        return await call_next(request, context)


async def test_an_interceptor_that_cannot_be_entered_fails_the_load_and_leaves_nothing() -> None:
    unloaded: list[str] = []

    class Noting(EchoModel):
        async def unload(self) -> bool:
            unloaded.append("yes")
            return True

    plugins = Intercepted(lambda: Limping(enter=True))
    async with Kernel(models=[model("m", Noting)], plugins=[plugins], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.problems() == ["Model m failed to load: OSError: no cache"]
    assert unloaded == ["yes"]


async def test_an_interceptor_that_cannot_be_left_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    unloaded: list[str] = []

    class Noting(EchoModel):
        async def unload(self) -> bool:
            unloaded.append("yes")
            return True

    async with shelved([model("m", Noting)], Intercepted(lambda: Limping(leave=True))) as kernel:
        await kernel.loaded()
        await kernel.load("m")
        assert await ask(kernel) == "hi"
        await kernel.unload("m")
        assert kernel.handle("m").state is State.UNAVAILABLE
    assert "cache is stuck" in caplog.text
    assert unloaded == ["yes", "yes"]


async def test_a_hook_that_raises_fails_the_load_with_the_plugins_name() -> None:
    def fail() -> Interceptor:
        raise KeyError("size")

    async with Kernel(models=[model("m")], plugins=[Intercepted(fail)], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.handle("m").reason == (
            "Model m: The plugin Intercepted failed in mlsrv_interceptors: KeyError: 'size'"
        )


async def test_wrong_settings_fail_their_model_only() -> None:
    models = [model("bad", paltform="x", max_in_flight=0), model("good")]
    async with shelved(models) as kernel:
        await kernel.loaded()
        assert await ask(kernel, "good") == "hi"
        assert kernel.handle("bad").reason == (
            'Model bad: code: unknown key "paltform"; did you mean "platform"?; '
            "code: max_in_flight: expected at least 1, got 0"
        )


async def test_a_model_that_the_repository_cannot_describe() -> None:
    models: list[Any] = [
        BrokenModel("m", "m/model-settings.json", "m/model-settings.json: is not valid JSON")
    ]
    async with shelved(models) as kernel:
        await kernel.loaded()
        handle = kernel.handle("m")
        assert handle.reason == "Model m: m/model-settings.json: is not valid JSON"
        assert handle.settings is None
        models[0] = model("m")
        await kernel.load("m")
        assert kernel.ready


@pytest.mark.parametrize(
    "name", ["", " m", "a/b", "a\\b", "..", ".", "../m", "stats", "m\n", "m\x00", "m\x7f", "m\ud800"]
)
async def test_names_that_cannot_be_addressed_or_leave_the_repository(name: str) -> None:
    with pytest.raises(ModelLoadError, match=r"cannot be the name of a model"):
        check_name(name)
    async with shelved([model(name)]) as kernel:
        await kernel.loaded()
        assert "cannot be the name of a model" in kernel.handle(name).reason
        with pytest.raises(ModelNotFound):
            await kernel.load(name)


@pytest.mark.parametrize("name", ["m", "my model", "modèle", "模型", "a.b-c_d", "..m", "v1:2", "👩‍🔬"])
async def test_valid_names(name: str) -> None:
    async with shelved([model(name)]) as kernel:
        await kernel.loaded()
        assert await ask(kernel, name) == "hi"


# --- executors ---------------------------------------------------------------------------------------


class Elsewhere(Executor):
    """Runs models in process all the same, and remembers them."""

    priority = 5

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.loaded: list[str] = []

    def claims(self, model: ModelSettings) -> bool:
        return model.name.startswith("far")

    async def load(self, model: ModelSettings) -> Placement:
        self.loaded.append(model.name)
        return await self.kernel._executors["inline"].load(model)


async def test_the_executor_with_the_highest_claim_gets_a_model() -> None:
    models = [
        model("far"),
        model("near"),
        model("far-inline", executor="inline"),
        model("sent", executor="else"),
    ]
    plugins = [Offering(mlsrv.ExecutorOffer("else", Elsewhere))]
    async with Kernel(models=models, plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        assert kernel.ready
        executor = kernel._executors["else"]
        assert isinstance(executor, Elsewhere)
        assert executor.loaded == ["far", "sent"]
    async with Kernel({"executor": "else"}, models=models[:2], plugins=plugins, discover=False) as kernel:
        await kernel.loaded()
        executor = kernel._executors["else"]
        assert isinstance(executor, Elsewhere)
        assert executor.loaded == ["far", "near"]


async def test_an_unknown_executor_names_those_that_there_are() -> None:
    async with Kernel(models=[model("m", executor="gpu")], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.problems() == ['Model m: unknown executor "gpu"; there are inline.']


# --- limits of one model -----------------------------------------------------------------------------


async def test_the_models_own_limit_takes_precedence_over_the_servers() -> None:
    gate = Gate()
    models = [model("m", waiting_model(gate), max_in_flight=1), model("n", waiting_model(gate))]
    async with Kernel({"max_in_flight": 2}, models=models, discover=False) as kernel:
        await kernel.loaded()
        running = [asyncio.ensure_future(ask(kernel, name)) for name in ("m", "n", "n")]
        await gate.reached.wait()
        await asyncio.sleep(0)
        for name in ("m", "n"):
            with pytest.raises(Overloaded, match=rf"^Model {name} is overloaded"):
                await ask(kernel, name)
        gate.open.set()
        assert await asyncio.gather(*running) == ["hi"] * 3


async def test_a_deadline_reaches_a_model_that_runs_in_a_thread() -> None:
    seen, ended = threading.Event(), threading.Event()

    class Polling(MLModel):
        def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # sync
            context = mlsrv.context.current_context.get()  # type: ignore[attr-defined]  # a submodule
            assert context is not None
            seen.set()
            while not context.cancelled:
                ended.wait(0.001)
            ended.set()
            return InferenceResponse()

    async with Kernel(models=[model("m", Polling)], discover=False) as kernel:
        await kernel.loaded()
        with pytest.raises(DeadlineExceeded):
            await kernel.infer(text_request("m", ["a"]), mlsrv.CallContext.with_timeout(0.05))
        assert seen.is_set()
        assert await asyncio.to_thread(ended.wait, 10)


# --- the end -----------------------------------------------------------------------------------------


async def test_a_load_that_hangs_does_not_delay_the_stop() -> None:
    gate, release = Gate(), threading.Event()
    blocked = threading.Event()

    class HangsAsync(EchoModel):
        async def load(self) -> bool:
            await gate.pass_through()
            return True

    class HangsInThread(EchoModel):
        def load(self) -> bool:  # type: ignore[override]  # sync
            blocked.set()
            return release.wait(30)

    models = [model("a", HangsAsync), model("b", HangsInThread)]
    async with asyncio.timeout(10):
        async with Kernel(models=models, discover=False) as kernel:
            waiter = asyncio.ensure_future(kernel.loaded())
            await gate.reached.wait()
            assert await asyncio.to_thread(blocked.wait, 10)
    with pytest.raises(ServerNotReady, match=r"stopping"):
        await waiter
    release.set()


async def test_an_unload_that_hangs_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    class Hangs(EchoModel):
        def unload(self) -> bool:  # type: ignore[override]  # sync
            return release.wait(30)

    async with asyncio.timeout(10):
        async with Kernel({"shutdown_timeout": 0.1}, models=[model("m", Hangs)], discover=False) as kernel:
            await kernel.loaded()
    assert "Model m did not unload in time and is left behind" in caplog.text
    release.set()


async def test_a_request_that_hangs_is_cancelled_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    async with Kernel(
        {"shutdown_timeout": 0.05}, models=[model("m", waiting_model(gate))], discover=False
    ) as kernel:
        await kernel.loaded()
        running = asyncio.ensure_future(ask(kernel))
        await gate.reached.wait()
    assert "Model m was unloaded with 1 requests still running" in caplog.text
    gate.open.set()
    assert await running == "hi"


async def test_nothing_is_loaded_while_the_server_stops() -> None:
    gate = Gate()

    class Slow(EchoModel):
        async def unload(self) -> bool:
            await gate.pass_through()
            return True

    kernel = shelved([model("m", Slow)])
    await kernel.__aenter__()
    await kernel.loaded()
    closing = asyncio.ensure_future(kernel.__aexit__(None, None, None))
    await gate.reached.wait()
    with pytest.raises(ServerNotReady):
        await kernel.load("m")
    with pytest.raises(ServerNotReady):
        await kernel.unload("m")
    gate.open.set()
    await closing


# --- loads that hang ------------------------------------------------------------


class HangsOnce(EchoModel):
    """Its first load hangs in a thread, until the end of the test."""

    loads = 0
    release = threading.Event()

    def load(self) -> bool:  # type: ignore[override]  # plain, so that it cannot be cancelled
        cls = type(self)
        cls.loads += 1
        if cls.loads == 1:
            cls.release.wait(20)
        return True


@pytest.fixture
def hangs_once() -> Iterator[type[HangsOnce]]:
    class Hangs(HangsOnce):
        release = threading.Event()

    yield Hangs
    Hangs.release.set()


async def hanging(kernel: Kernel) -> None:
    while kernel.model_names() == [] or kernel.handle("m").state is not State.LOADING:
        await asyncio.sleep(0.01)


async def test_an_unload_cancels_a_load_that_hangs(
    hangs_once: type[HangsOnce], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "UNLOAD_WAIT", 0.05)
    async with asyncio.timeout(15), make_kernel(model("m", hangs_once)) as kernel:
        await hanging(kernel)
        await kernel.unload("m")
        assert kernel.handle("m").state is State.UNAVAILABLE
        await kernel.load("m")
        assert await ask(kernel) == "hi"


async def test_a_new_load_cancels_a_load_that_hangs(
    hangs_once: type[HangsOnce], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "OVERTAKE", 0.05)
    async with asyncio.timeout(15), make_kernel(model("m", hangs_once)) as kernel:
        await hanging(kernel)
        await kernel.load("m")
        assert await ask(kernel) == "hi"


@pytest.mark.parametrize(("server", "own"), [(2.0, {}), (None, {"load_timeout": 2.0})])
async def test_a_load_has_a_time_limit(
    hangs_once: type[HangsOnce], server: float | None, own: dict[str, float]
) -> None:
    async with (
        asyncio.timeout(15),
        make_kernel(model("m", hangs_once, **own), load_timeout=server) as kernel,
    ):
        await kernel.loaded()
        assert kernel.handle("m").reason == "Model m did not load within its load_timeout of 2 s."
        await kernel.load("m")
        assert kernel.handle("m").ready
