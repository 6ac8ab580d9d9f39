"""A whole kernel: boots, answers, streams, stops; and others in the same process do not notice."""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kernel_parts import Gate, Intercepted, Spanning, ask, ask_or_error, model, shelved, waiting_model

import mlsrv
from mlsrv import CallContext, Kernel, MLModel, ModelSettings, Settings
from mlsrv.errors import (
    Code,
    ConfigurationError,
    DeadlineExceeded,
    InvalidPayload,
    MLSrvError,
    ModelNotFound,
    OfferClash,
    PluginError,
    ServerNotReady,
    Unsupported,
)
from mlsrv.executor import Executor
from mlsrv.handlers import custom_handler
from mlsrv.interceptor import Interceptor
from mlsrv.settings import setting, settings_class
from mlsrv.testing import EchoModel, FailingModel, Offering, text_request
from mlsrv.types import InferenceRequest, InferenceResponse, MetadataModelResponse, Parameters


def kernel_of(*models: ModelSettings, plugins: Any = (), **settings: Any) -> Kernel:
    return Kernel(settings, models=models, plugins=plugins, discover=False)


# --- making ------------------------------------------------------------------------------------------


@settings_class
class Greeting:
    greeting: str = setting("hello", help="What to say.")


def test_settings_may_be_typed_or_plain() -> None:
    plugins = [Offering(mlsrv.SettingsOffer("server", Greeting))]
    for given in (Settings(greeting="ahoy"), {"greeting": "ahoy"}):
        kernel = Kernel(given, plugins=plugins, discover=False)
        assert kernel.settings.of(Greeting).greeting == "ahoy"
        assert kernel.settings.greeting == "ahoy"
    assert Kernel(plugins=plugins, discover=False).settings.greeting == "hello"


def test_wrong_settings_are_refused_at_construction() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Kernel({"hots": "x", "max_in_flight": "many"}, discover=False)
    assert caught.value.problems == [
        'code: unknown key "hots"; did you mean "host"?',
        "code: max_in_flight: expected a whole number, got 'many'",
    ]


def test_two_offers_of_one_runtime_clash() -> None:
    offer = mlsrv.RuntimeOffer("toy", EchoModel)
    with pytest.raises(OfferClash, match=r'runtime "toy" is offered by both one and two'):
        Kernel(plugins=[Offering(offer, name="one"), Offering(offer, name="two")], discover=False)


def test_the_kernel_is_a_plugin_among_others() -> None:
    (row,) = Kernel(discover=False).plugins.rows
    assert (row.name, row.distribution) == ("core", "mlsrv-core")
    assert row.version == mlsrv.__version__
    assert [offer.name for offer in row.offers] == ["inline"]  # type: ignore[union-attr]  # an ExecutorOffer


# --- two kernels -------------------------------------------------------------------------------------


async def test_two_kernels_in_one_process_do_not_see_each_other() -> None:
    one_plugins = [
        Offering(mlsrv.SettingsOffer("server", Greeting), mlsrv.RuntimeOffer("toy", EchoModel), name="one")
    ]
    one = Kernel({"greeting": "one"}, plugins=one_plugins, models=[model("a", "toy")], discover=False)
    two = Kernel({"server_name": "two"}, models=[model("b", FailingModel)], discover=False)
    async with one, two:
        await one.loaded()
        await two.loaded()
        assert (one.model_names(), two.model_names()) == (["a"], ["b"])
        assert await ask(one, "a") == "hi"
        assert await ask_or_error(one, "b") == "NOT_FOUND"
        assert await ask_or_error(two, "a") == "NOT_FOUND"
        assert await ask_or_error(two, "b") == "INTERNAL"
        assert sorted(one.catalog.runtimes) == ["toy"]
        assert sorted(two.catalog.runtimes) == []
        assert (one.server_metadata().name, two.server_metadata().name) == ("mlsrv", "two")
        with pytest.raises(AttributeError):
            two.settings.greeting  # noqa: B018  # the access is the test
        assert one.plugins.manager is not two.plugins.manager


# --- boot and end ------------------------------------------------------------------------------------


class Noting(Executor):
    """Writes down when it is entered and left."""

    events: list[str] = []  # replaced by each test

    def claims(self, model: ModelSettings) -> bool:
        return False

    async def load(self, model: ModelSettings) -> Any:
        raise AssertionError

    async def __aenter__(self) -> Executor:
        self.events.append("enter executor")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.events.append("leave executor")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    noted: list[str] = []
    monkeypatch.setattr(Noting, "events", noted)
    return noted


EXECUTOR = Offering(mlsrv.ExecutorOffer("noting", Noting), name="noting")


async def test_parts_are_entered_in_order_and_left_in_reverse(events: list[str]) -> None:
    class Unloading(EchoModel):
        async def unload(self) -> bool:
            events.append("unload model")
            return True

    plugins = [Spanning("b", events), EXECUTOR, Spanning("a", events)]
    async with kernel_of(model("m", Unloading), plugins=plugins) as kernel:
        await kernel.loaded()
        assert events == ["enter executor", "enter a", "enter b"]
    assert events[3:] == ["unload model", "leave b", "leave a", "leave executor"]


async def test_a_failed_boot_exits_every_entered_part(events: list[str]) -> None:
    plugins = [EXECUTOR, Spanning("a", events), Spanning("b", events, enter=OSError("no database"))]
    kernel = kernel_of(plugins=plugins)
    with pytest.raises(PluginError, match=r"^The plugin b failed to start: OSError: no database$"):
        await kernel.__aenter__()
    assert events == ["enter executor", "enter a", "enter b", "leave a", "leave executor"]
    assert kernel.problems() == ["The server is stopping."]


async def test_an_executor_that_cannot_be_entered(events: list[str]) -> None:
    class Broken(Noting):
        async def __aenter__(self) -> Executor:
            raise OSError("no processes left")

    plugins = [EXECUTOR, Offering(mlsrv.ExecutorOffer("processes", Broken), name="zzz")]
    with pytest.raises(
        PluginError, match=r'^The executor "processes" failed to start: OSError: no processes'
    ):
        await kernel_of(plugins=plugins).__aenter__()
    assert events == ["enter executor", "leave executor"]


def test_an_unknown_executor_is_refused_before_the_start() -> None:
    with pytest.raises(ConfigurationError, match=r'^executor: unknown "wrokers"; installed are inline\.$'):
        Kernel({"executor": "wrokers"}, discover=False)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("nowhere:Executor", 'The executor "bad" cannot be imported: ModuleNotFoundError'),
        ("mlsrv.executor:Nothing", 'The executor "bad" cannot be imported: AttributeError'),
        (EchoModel, 'The executor "bad" is <class'),
    ],
)
async def test_an_offer_whose_target_does_not_exist(target: Any, sentence: str, events: list[str]) -> None:
    plugins = [Offering(mlsrv.ExecutorOffer("bad", target)), EXECUTOR]
    with pytest.raises(ConfigurationError) as caught:
        await kernel_of(plugins=plugins).__aenter__()
    assert str(caught.value).startswith(sentence)


async def test_a_lifespan_that_fails_at_the_end_lets_the_others_end(
    events: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    plugins = [EXECUTOR, Spanning("a", events), Spanning("b", events, leave=OSError("flush failed"))]
    async with kernel_of(plugins=plugins):
        pass
    assert "The plugin b failed to stop" in caplog.text
    assert "flush failed" in caplog.text
    assert events[3:] == ["leave b", "leave a", "leave executor"]


async def test_starting_twice_is_refused_and_stopping_twice_is_not() -> None:
    kernel = kernel_of(model("m"))
    async with kernel:
        with pytest.raises(RuntimeError, match=r"running already"):
            await kernel.__aenter__()
        await kernel.loaded()
        assert await ask(kernel) == "hi"
    await kernel.__aexit__(None, None, None)
    async with kernel:
        await kernel.loaded()
        assert await ask(kernel) == "hi"
        assert kernel.ready


async def test_a_new_start_forgets_the_models_of_the_last_one() -> None:
    models = [model("old")]
    kernel = shelved(models)
    async with kernel:
        await kernel.loaded()
    assert kernel.model_names() == ["old"]
    models[:] = [model("new")]
    async with kernel:
        await kernel.loaded()
        assert kernel.model_names() == ["new"]


def test_a_kernel_may_run_in_one_event_loop_after_another() -> None:
    kernel = kernel_of(model("m"))

    async def run() -> Any:
        async with kernel:
            await asyncio.gather(kernel.loaded(), kernel.load("m"), kernel.load("m"))
            return await ask(kernel)

    assert [asyncio.run(run()) for _ in range(2)] == ["hi", "hi"]


async def test_an_exception_in_the_body_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        async with kernel_of(model("m")):
            raise ZeroDivisionError


# --- requests ----------------------------------------------------------------------------------------


async def test_infer() -> None:
    async with kernel_of(model("m", version="v1")) as kernel:
        await kernel.loaded()
        response = await kernel.infer(text_request("m", ["a", "b"], id="mine"))
        assert (response.model_name, response.model_version, response.id) == ("m", "v1", "mine")
        assert response.outputs[0].data == ["a", "b"]
        assert len((await kernel.infer(text_request("m", ["a"]))).id or "") == 32
        context = CallContext(request_id="given")
        assert (await kernel.infer(text_request("m", ["a"]), context)).id == "given"


async def test_an_exception_of_a_model_becomes_an_mlsrv_error() -> None:
    async with kernel_of(model("m", FailingModel)) as kernel:
        await kernel.loaded()
        with pytest.raises(MLSrvError) as caught:
            await ask(kernel)
        assert str(caught.value) == "Model m failed: ValueError: this model always fails"
        assert caught.value.code is Code.INTERNAL


async def test_an_exception_of_a_plugin_becomes_an_mlsrv_error(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Interceptor):
        async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
            raise KeyError("secret detail")

        async def stream(self, requests: Any, context: Any, call_next: Any) -> Any:
            raise KeyError("secret detail")
            yield

    async with kernel_of(model("m"), plugins=[Intercepted(Broken)]) as kernel:
        await kernel.loaded()
        request, one, two = text_request("m", ["a"]), CallContext("r1"), CallContext("r2")
        for call, name in ((kernel.infer(request, one), "r1"), (anext(kernel.stream(request, two)), "r2")):
            with pytest.raises(MLSrvError) as caught:
                await call
            assert str(caught.value) == (f"Internal server error (request {name})")
    failures = [record for record in caplog.records if record.name == "mlsrv.requests"]
    assert [record.getMessage() for record in failures] == [
        f"Request {name} failed: KeyError: 'secret detail'" for name in ("r1", "r2")
    ]


async def test_a_cancelled_request_cancels_the_models_work() -> None:
    gate, cancelled = Gate(), asyncio.Event()

    class Waiting(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            try:
                await gate.pass_through()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError

    async with kernel_of(model("m", Waiting)) as kernel:
        await kernel.loaded()
        task = asyncio.ensure_future(ask(kernel))
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cancelled.is_set()


async def test_a_model_may_add_parameters_to_its_metadata() -> None:
    class Telling(EchoModel):
        async def metadata(self) -> MetadataModelResponse:
            found = await super().metadata()
            found.parameters = Parameters(params=["scale"])
            return found

    async with kernel_of(model("m", Telling)) as kernel:
        await kernel.loaded()
        assert kernel.model_metadata("m").parameters == Parameters(params=["scale"])


async def test_metadata() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
    models = [
        model("m", version="1", platform="toy", inputs=[tensor]),
        model("m", version="2", versions=["own"]),
    ]
    async with kernel_of(*models, server_name="me", server_version="7", extensions=["a", "b", "a"]) as kernel:
        server = kernel.server_metadata()
        assert (server.name, server.version) == ("me", "7")
        assert server.extensions == ["a", "b", "schedule_policy", "statistics"]
        await kernel.loaded()
        first = kernel.model_metadata("m", "1")
        assert (first.name, first.platform, first.versions) == ("m", "toy", ["1", "2"])
        assert [one.name for one in first.inputs] == ["x"]
        assert kernel.model_metadata("m").versions == ["own"]
        assert kernel.model_metadata("m", "").versions == ["own"]
        assert first.parameters is None
        with pytest.raises(ModelNotFound):
            kernel.model_metadata("n")
        await kernel.unload("m", "1")
        with pytest.raises(MLSrvError) as caught:
            kernel.model_metadata("m", "1")
        assert caught.value.code is Code.NOT_READY
    assert kernel_of().server_metadata().version == mlsrv.__version__


async def test_requests_are_checked_against_declared_inputs_unless_that_is_off() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1]}
    models = [model("strict", inputs=[tensor]), model("lax", inputs=[tensor], check_inputs=False)]
    async with kernel_of(*models) as kernel:
        await kernel.loaded()
        with pytest.raises(MLSrvError, match=r"^Model strict does not know the inputs input; it takes x"):
            await ask(kernel, "strict")
        assert await ask(kernel, "lax") == "hi"


# --- streams -----------------------------------------------------------------------------------------


async def two(name: str = "m") -> AsyncIterator[InferenceRequest]:
    yield text_request(name, ["a"], id="first")
    yield text_request(name, ["b"], id="second")


async def test_streams_of_one_and_of_many_requests() -> None:
    async with kernel_of(model("m")) as kernel:
        await kernel.loaded()
        single = [one async for one in kernel.stream(text_request("m", ["a"], id="x"))]
        assert [(one.id, one.outputs[0].data) for one in single] == [("x", ["a"])]
        many = [one async for one in kernel.stream(two())]
        assert [(one.id, one.outputs[0].data) for one in many] == [("first", ["a"]), ("first", ["b"])]


async def test_a_stream_fails_before_its_first_response_where_it_can() -> None:
    async def none() -> AsyncIterator[InferenceRequest]:
        return
        yield

    async def refusing() -> AsyncIterator[InferenceRequest]:
        raise InvalidPayload("not JSON")
        yield

    async with kernel_of(model("m")) as kernel:
        await kernel.loaded()
        with pytest.raises(ModelNotFound):
            await anext(kernel.stream(two("unknown")))
        with pytest.raises(InvalidPayload, match=r"ended before its first request"):
            await anext(kernel.stream(none()))
        with pytest.raises(InvalidPayload, match=r"not JSON"):
            await anext(kernel.stream(refusing()))


async def test_closing_a_stream_early_stops_the_generator() -> None:
    ended = asyncio.Event()

    class Endless(MLModel):
        async def predict_stream(self, payloads: Any) -> Any:
            try:
                while True:
                    yield InferenceResponse()
            finally:
                ended.set()

    async with kernel_of(model("m", Endless)) as kernel:
        await kernel.loaded()
        async with contextlib.aclosing(kernel.stream(text_request("m", ["a"]))) as responses:  # type: ignore[type-var]  # an async generator
            await anext(responses)
            await anext(responses)
        assert ended.is_set()
        with pytest.raises(Unsupported, match=r"streams only"):
            await ask(kernel)


async def test_cancelling_a_stream_stops_the_generator() -> None:
    gate, ended = Gate(), asyncio.Event()

    class Stuck(MLModel):
        async def predict_stream(self, payloads: Any) -> Any:
            try:
                yield InferenceResponse()
                await gate.pass_through()
            finally:
                ended.set()

    async with kernel_of(model("m", Stuck)) as kernel:
        await kernel.loaded()

        async def consume() -> None:
            async for _ in kernel.stream(text_request("m", ["a"])):
                pass

        task = asyncio.ensure_future(consume())
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()


# --- custom handlers ---------------------------------------------------------------------------------


class Extra(EchoModel):
    gate: Gate

    @custom_handler(rest_path="/double")
    async def double(self, value: int) -> int:
        return 2 * value

    @custom_handler(rest_path="/wait")
    async def wait(self) -> None:
        await self.gate.pass_through()


async def test_custom_handlers_are_requests_like_others() -> None:
    Extra.gate = Gate()
    async with kernel_of(model("m", Extra, max_in_flight=1)) as kernel:
        await kernel.loaded()
        assert await kernel.call("m", None, "double", {"value": 4}) == 8
        with pytest.raises(DeadlineExceeded):
            await kernel.call("m", None, "wait", {}, CallContext.with_timeout(0.02))
        waiting = asyncio.ensure_future(kernel.call("m", "", "wait", {}))
        await asyncio.sleep(0)
        assert await ask_or_error(kernel) == "OVERLOADED"
        Extra.gate.open.set()
        await waiting
        with pytest.raises(Unsupported, match=r"no handler predict"):
            await kernel.call("m", None, "predict", {})
        with pytest.raises(ModelNotFound):
            await kernel.call("n", None, "double", {})
        with pytest.raises(MLSrvError, match=r"^Model m failed: TypeError"):
            await kernel.call("m", None, "double", {"nonsense": 1})


async def test_requests_in_flight_finish_when_the_kernel_is_left() -> None:
    gate = Gate()
    async with shelved([model("m", waiting_model(gate))]) as kernel:
        await kernel.loaded()
        running = asyncio.ensure_future(ask(kernel))
        await gate.reached.wait()
        asyncio.get_running_loop().call_later(0.05, gate.open.set)
    assert running.done()
    assert running.result() == "hi"


# --- event loops -------------------------------------------------------------------------------------


def test_a_kernel_is_used_in_the_loop_in_which_it_was_entered() -> None:
    kernel = kernel_of(ModelSettings(name="m", implementation=EchoModel))

    async def enter() -> None:
        await kernel.__aenter__()
        await kernel.loaded()

    async def stream() -> None:
        async for _ in kernel.stream(text_request("m", ["a"])):
            pass

    with asyncio.Runner() as runner:
        runner.run(enter())
        assert runner.run(ask(kernel, "m", "a")) == "a"
        with pytest.raises(MLSrvError, match=r"another event loop; asyncio"):
            _in_a_thread(kernel.infer(text_request("m", ["a"])))
    ways = (
        kernel.infer(text_request("m", ["a"])),
        stream(),
        kernel.call("m", None, "method", {}),
        kernel.load("m"),
        kernel.index(),
        kernel.loaded(),
        kernel.__aexit__(),
    )
    for way in ways:
        with pytest.raises(ServerNotReady, match="an event loop that has ended"):
            asyncio.run(way)


def _in_a_thread(work: Any) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result(20)
