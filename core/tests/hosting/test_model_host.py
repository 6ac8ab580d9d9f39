"""Model host: threads of its code, errors for its failures, and nothing left behind."""

import asyncio
import contextlib
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mlsrv.context import CallContext, current_context
from mlsrv.errors import (
    DeadlineExceeded,
    InferenceError,
    MLSrvError,
    ModelFailed,
    ModelLoadError,
    OutputNotFound,
    RequestCancelled,
    Unsupported,
)
from mlsrv.handlers import custom_handler
from mlsrv.hosting.catalog import Catalog
from mlsrv.hosting.model_host import ModelHost
from mlsrv.metrics import current_metrics
from mlsrv.model import MLModel
from mlsrv.plugins import Plugins
from mlsrv.settings import ModelSettings
from mlsrv.testing import EchoModel, text_request
from mlsrv.threads import Threads
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    RequestOutput,
    ResponseOutput,
)

Make = Callable[..., ModelHost]


@pytest.fixture
def make() -> Iterator[Make]:
    threads = Threads(4, "test-host")
    catalog = Catalog(Plugins(discover=False))

    def make_host(cls: object, **settings: Any) -> ModelHost:
        return ModelHost(ModelSettings(name="m", implementation=cls, **settings), catalog, threads)

    yield make_host
    threads.close()


def request(*texts: str, id: str | None = None) -> InferenceRequest:
    return text_request("m", texts or ("hi",), id=id)


async def requests(*given: InferenceRequest) -> AsyncIterator[InferenceRequest]:
    for one in given:
        yield one


async def answer(host: ModelHost, **values: Any) -> Any:
    response = await host.infer(request(**values), CallContext())
    return response.outputs[0].data


def answered(text: str) -> InferenceResponse:
    return InferenceResponse(outputs=[{"name": "o", "shape": [1], "datatype": "BYTES", "data": [text]}])


# --- where code runs ------------------------------------------------------------


async def test_async_predict_runs_on_the_loop(make: Make) -> None:
    class Model(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            asyncio.get_running_loop()
            return answered(threading.current_thread().name)

    host = make(Model)
    info = await host.load()
    assert await answer(host) == [threading.current_thread().name]
    assert info.asynchronous
    await host.unload()


async def test_plain_predict_runs_in_a_thread_and_knows_its_request(make: Make) -> None:
    class Model(MLModel):
        def predict(self, payload: InferenceRequest) -> InferenceResponse:
            context = current_context.get()
            assert context is not None
            return answered(f"{threading.current_thread().name} {context.request_id}")

    host = make(Model)
    info = await host.load()
    response = await host.infer(request(), CallContext(request_id="r1"))
    assert response.outputs[0].data == ["test-host-1 r1"]
    assert not info.asynchronous
    await host.unload()


async def test_load_and_unload_have_their_own_threads(make: Make) -> None:
    names: list[str] = []

    class Model(EchoModel):
        def load(self) -> bool:  # type: ignore[override]  # authors may write it without async
            names.append(threading.current_thread().name)
            return True

        def unload(self) -> bool:  # type: ignore[override]  # as above
            names.append(threading.current_thread().name)
            return True

    host = make(Model)
    await host.load()
    await host.unload()
    assert names == ["mlsrv-load-1", "mlsrv-unload-1"]


async def test_a_plain_function_around_an_async_one(make: Make) -> None:
    class Model(MLModel):
        def predict(self, payload: InferenceRequest) -> Any:  # type: ignore[override]  # as decorators do
            return self.inner()

        async def inner(self) -> InferenceResponse:
            asyncio.get_running_loop()
            return answered("inner")

    host = make(Model)
    await host.load()
    assert await answer(host) == ["inner"]
    await host.unload()


# --- outputs ------------------------------------------------------------


def three(*names: str) -> InferenceResponse:
    outputs = [{"name": name, "shape": [1], "datatype": "INT64", "data": [1]} for name in names]
    return InferenceResponse(outputs=outputs)


class Three(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return three("a", "b", "c")

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for _ in payloads:
            yield three("a", "b", "c")
            yield three("b")


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (None, ["a", "b", "c"]),
        (["b"], ["b"]),
        (["c", "a"], ["c", "a"]),
        (["b", "b"], ["b"]),
    ],
)
async def test_a_request_chooses_and_orders_outputs(
    make: Make, asked: list[str] | None, sent: list[str]
) -> None:
    host = make(Three)
    await host.load()
    wanted = None if asked is None else [RequestOutput(name) for name in asked]
    chosen = InferenceRequest(inputs=request().inputs, outputs=wanted)
    response = await host.infer(chosen, CallContext())
    assert [output.name for output in response.outputs] == sent
    streamed = [response async for response in host.stream(requests(chosen), CallContext())]
    assert [output.name for output in streamed[0].outputs] == sent
    assert [output.name for output in streamed[1].outputs] == (["b"] if "b" in sent else [])
    await host.unload()


@pytest.mark.parametrize("names", [["unknown"], ["b", "unknown"]])
async def test_an_output_that_the_answer_lacks_is_refused(make: Make, names: list[str]) -> None:
    host = make(Three)
    await host.load()
    chosen = InferenceRequest(inputs=request().inputs, outputs=list(map(RequestOutput, names)))
    with pytest.raises(OutputNotFound, match='Model m has no output "unknown"; it has a, b, c'):
        await host.infer(chosen, CallContext())
    with pytest.raises(OutputNotFound, match='Model m has no output "unknown"; it has a, b, c'):
        async for _ in host.stream(requests(chosen), CallContext()):
            pass
    await host.unload()


async def test_a_declared_output_may_be_absent_and_later_responses_of_a_stream_may_have_none(
    make: Make,
) -> None:
    class Declaring(Three):
        async def load(self) -> bool:
            self.outputs = [MetadataTensor(name, "INT64", [1]) for name in ("a", "b", "c", "d")]
            return True

    host = make(Declaring)
    await host.load()

    def asking(*names: str) -> InferenceRequest:
        return InferenceRequest(inputs=request().inputs, outputs=list(map(RequestOutput, names)))

    response = await host.infer(asking("d", "a"), CallContext())
    assert [output.name for output in response.outputs] == ["a"]
    with pytest.raises(OutputNotFound, match='has no output "d"; it has a, b, c'):
        await host.infer(asking("d"), CallContext())
    streamed = [response async for response in host.stream(requests(asking("c")), CallContext())]
    assert [[output.name for output in response.outputs] for response in streamed] == [["c"], []]
    await host.unload()


async def test_a_model_may_name_the_outputs_that_are_asked_for_otherwise(make: Make) -> None:
    class Choosing(Three):
        own_output_choice = True

        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            return three("a-1", "a-2")

    class Overriding(Choosing):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            return three("a", "b")

    chosen = InferenceRequest(inputs=request().inputs, outputs=[RequestOutput("a")])
    for model, names in ((Choosing, ["a-1", "a-2"]), (Overriding, ["a"])):
        host = make(model)
        await host.load()
        response = await host.infer(chosen, CallContext())
        assert [output.name for output in response.outputs] == names
        await host.unload()


async def test_outputs_of_one_name_are_the_fault_of_the_model(make: Make) -> None:
    class Twice(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            return three("y", "x", "y")

        async def predict_stream(
            self, payloads: AsyncIterator[InferenceRequest]
        ) -> AsyncIterator[InferenceResponse]:
            yield three("y", "y")

    host = make(Twice)
    await host.load()
    sentence = r'Model m: predict returned two outputs called "y"; names must be unique \(test_model_host.py'
    with pytest.raises(ModelFailed, match=sentence):
        await host.infer(request(), CallContext())
    with pytest.raises(ModelFailed, match="predict_stream returned two outputs"):
        await anext(host.stream(requests(request()), CallContext()))
    await host.unload()


# --- loading ------------------------------------------------------------


@pytest.mark.parametrize("false", [False, np.bool_(False), 0, "", []])
async def test_a_load_that_answers_a_false_value_has_failed(make: Make, false: object) -> None:
    class Model(EchoModel):
        def load(self) -> Any:  # type: ignore[override]  # authors may return anything
            return false

    sentence = re.escape(f"Model m: load() of {Model.__qualname__} returned {false!r} (")
    with pytest.raises(ModelLoadError, match=sentence):
        await make(Model).load()


@pytest.mark.parametrize("true", [None, True, 1, np.array([0, 0]), object()])
async def test_a_load_that_answers_anything_else_has_not(make: Make, true: object) -> None:
    class Model(EchoModel):
        async def load(self) -> Any:
            return true

    host = make(Model)
    await host.load()
    await host.unload()


async def test_a_load_that_says_it_is_not_ready_has_failed(make: Make) -> None:
    class Model(EchoModel):
        async def load(self) -> Any:
            assert not self.ready
            self.ready = False

    with pytest.raises(ModelLoadError, match=r"left ready = False \(test_model_host.py, line \d+\)"):
        await make(Model).load()


async def test_an_interrupt_that_load_raises_fails_the_load(make: Make) -> None:
    class Model(EchoModel):
        async def load(self) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(ModelLoadError, match="Model m failed to load: KeyboardInterrupt"):
        await make(Model).load()


async def test_the_info_describes_the_model_after_load(make: Make) -> None:
    class Model(EchoModel):
        async def load(self) -> bool:
            self.inputs = [MetadataTensor(name="x", datatype="FP32", shape=[-1, 4])]
            return True

        @custom_handler(rest_path="/extra")
        async def extra(self) -> str:
            return "extra"

    host = make(Model, platform="toy", versions=["1.2"])
    info = await host.load()
    assert info == host.info
    assert info.inputs == (MetadataTensor(name="x", datatype="FP32", shape=[-1, 4]),)
    assert (info.platform, info.versions, info.streams, info.predicts) == ("toy", ("1.2",), True, True)
    assert list(info.handlers) == ["extra"]
    await host.unload()


async def test_none_from_load_means_ready(make: Make) -> None:
    class Model(EchoModel):
        async def load(self) -> None:  # type: ignore[override]  # authors forget the return
            return None

    host = make(Model)
    await host.load()
    assert await answer(host) == ["hi"]
    await host.unload()


class LoadsFalse(EchoModel):
    async def load(self) -> bool:
        return False


class LoadsRaising(EchoModel):
    async def load(self) -> bool:
        raise ValueError("no such weights")


class LoadsExiting(EchoModel):
    def load(self) -> bool:  # type: ignore[override]  # authors may write it without async
        sys.exit(3)


class LoadsExitingAsync(EchoModel):
    async def load(self) -> bool:
        sys.exit(3)


class LoadsCancelling(EchoModel):
    async def load(self) -> bool:
        raise asyncio.CancelledError


class MakesRaising(EchoModel):
    def __init__(self, settings: ModelSettings) -> None:
        raise KeyError("extra")


class MakesTypo(EchoModel):
    async def load(self) -> bool:
        raise ModelLoadError("my own sentence")


class WrongMetadata(EchoModel):
    async def metadata(self) -> MetadataModelResponse:
        return {"name": "m"}  # type: ignore[return-value]  # the mistake under test


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (LoadsFalse, "Model m: load() of LoadsFalse returned False (test_model_host.py, line "),
        (LoadsRaising, "Model m failed to load: ValueError: no such weights"),
        (LoadsExiting, "Model m failed to load: RuntimeError: SystemExit: 3"),
        (LoadsExitingAsync, "Model m failed to load: SystemExit: 3"),
        (LoadsCancelling, "Model m failed to load: CancelledError"),
        (MakesRaising, "Model m failed to load: KeyError: 'extra'"),
        (MakesTypo, "my own sentence"),
        (WrongMetadata, "metadata() of WrongMetadata returned a dict, not a MetadataModelResponse (test"),
        ("os.path", "Model m: 'os.path' is a module, not a subclass of mlsrv.MLModel."),
        (int, "Model m: <class 'int'> is the class int, not a subclass of mlsrv.MLModel."),
    ],
)
async def test_the_error_of_a_failing_load_has_the_reason(make: Make, cls: object, sentence: str) -> None:
    host = make(cls)
    with pytest.raises(ModelLoadError) as caught:
        await host.load()
    assert sentence in str(caught.value)
    with pytest.raises(ModelFailed, match="not loaded"):
        await host.infer(request(), CallContext())


async def test_a_load_that_fails_late_unloads_the_model(make: Make) -> None:
    unloaded: list[str] = []

    class Model(WrongMetadata):
        async def unload(self) -> bool:
            unloaded.append("yes")
            return True

    with pytest.raises(ModelLoadError):
        await make(Model).load()
    assert unloaded == ["yes"]


async def test_a_cancelled_load_is_cancelled(make: Make) -> None:
    begun = asyncio.Event()

    class Model(EchoModel):
        async def load(self) -> bool:
            begun.set()
            await asyncio.Event().wait()
            return True

    task = asyncio.ensure_future(make(Model).load())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_unload_raising_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    class Model(EchoModel):
        async def unload(self) -> bool:
            sys.exit("cannot let go")

    host = make(Model)
    await host.load()
    await host.unload()
    await host.unload()
    (record,) = [record for record in caplog.records if record.name == "mlsrv.model"]
    assert record.getMessage() == "Model m failed to unload"
    assert record.exc_info is not None
    assert "cannot let go" in str(record.exc_info[1])


# --- failures of requests ------------------------------------------------------------


def failing(error: BaseException) -> type[MLModel]:
    class Async(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            raise error

    return Async


def failing_in_a_thread(error: BaseException) -> type[MLModel]:
    class Threaded(MLModel):
        def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # sync
            raise error

    return Threaded


class Panic(BaseException):
    """What extension modules written in Rust raise."""


@pytest.mark.parametrize("kind", [failing, failing_in_a_thread])
@pytest.mark.parametrize(
    "error", [ValueError("boom"), SystemExit(3), Panic("boom"), asyncio.CancelledError(), StopIteration()]
)
async def test_any_exception_of_predict_fails_one_request(
    make: Make,
    kind: Callable[[BaseException], type[MLModel]],
    error: BaseException,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = make(kind(error))
    await host.load()
    with pytest.raises(ModelFailed) as caught:
        await host.infer(request(), CallContext(request_id="r7"))
    assert str(caught.value).startswith("Model m failed: ")
    assert type(error).__name__ in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert type(error).__name__ in repr(caught.value.__cause__)
    assert caplog.records == []  # the transport logs it
    await host.unload()


async def test_mlsrv_errors_pass_unchanged(make: Make) -> None:
    host = make(failing(InferenceError("x must be positive")))
    await host.load()
    with pytest.raises(InferenceError, match=r"^x must be positive$"):
        await host.infer(request(), CallContext())
    await host.unload()


async def test_a_long_message_is_clipped_to_one_line(make: Make) -> None:
    host = make(failing(ValueError("a\nb " + "x" * 10_000)))
    await host.load()
    with pytest.raises(ModelFailed) as caught:
        await host.infer(request(), CallContext())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    await host.unload()


async def test_a_wrong_return_type_names_file_and_line(make: Make) -> None:
    class Model(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            return [1, 2]  # type: ignore[return-value]  # the mistake under test

    host = make(Model)
    await host.load()
    line = Model.predict.__code__.co_firstlineno
    with pytest.raises(ModelFailed) as caught:
        await host.infer(request(), CallContext())
    assert str(caught.value) == (
        f"Model m: predict returned a list, not an InferenceResponse (test_model_host.py, line {line})."
    )
    await host.unload()


async def test_a_wrong_return_type_of_a_callable_without_code(make: Make) -> None:
    class Predict:
        def __call__(self, payload: InferenceRequest) -> None:
            return None

    class Model(MLModel):
        predict = Predict()  # type: ignore[assignment]  # an object, not a function

    host = make(Model)
    await host.load()
    with pytest.raises(
        ModelFailed, match=r"^Model m: predict returned a NoneType, not an InferenceResponse\.$"
    ):
        await host.infer(request(), CallContext())
    await host.unload()


async def test_predict_on_a_model_that_only_streams_is_unsupported(make: Make) -> None:
    class Model(MLModel):
        async def predict_stream(
            self, payloads: AsyncIterator[InferenceRequest]
        ) -> AsyncIterator[InferenceResponse]:
            yield answered("one")

    host = make(Model)
    info = await host.load()
    assert (info.predicts, info.streams) == (False, True)
    with pytest.raises(Unsupported, match="streams only"):
        await host.infer(request(), CallContext())
    await host.unload()


# --- identity of responses ------------------------------------------------------------


async def test_a_response_carries_name_version_and_the_requests_id(make: Make) -> None:
    host = make(EchoModel, parameters={"version": "v2"})
    await host.load()
    response = await host.infer(request(id="mine"), CallContext(request_id="other"))
    assert (response.model_name, response.model_version, response.id) == ("m", "v2", "mine")
    response = await host.infer(request(), CallContext(request_id="other"))
    assert response.id == "other"
    await host.unload()


async def test_one_object_for_many_answers_keeps_the_ids_apart(make: Make) -> None:
    constant = answered("same")

    class Model(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            return constant

    host = make(Model)
    await host.load()
    first, second = [await host.infer(request(id=number), CallContext()) for number in ("1", "2")]
    assert (first.id, second.id, constant.id) == ("1", "2", None)
    await host.unload()


# --- context ------------------------------------------------------------


async def test_a_call_leaves_no_context_variables_behind(make: Make) -> None:
    host = make(EchoModel)
    await host.load()
    await host.infer(request(), CallContext())
    async for _ in host.stream(requests(request()), CallContext()):
        assert current_context.get() is None
    with contextlib.suppress(MLSrvError):
        await host.call("nothing", {}, CallContext())
    assert current_context.get() is None
    assert current_metrics.get() is None
    await host.unload()
    assert current_metrics.get() is None


async def test_a_cancelled_or_late_call_does_not_run(make: Make) -> None:
    host = make(EchoModel)
    await host.load()
    late, gone = CallContext(deadline=0.0), CallContext()
    gone.cancel()
    with pytest.raises(DeadlineExceeded):
        await host.infer(request(), late)
    with pytest.raises(RequestCancelled):
        await host.infer(request(), gone)
    with pytest.raises(RequestCancelled):
        await anext(host.stream(requests(request()), gone))
    with pytest.raises(RequestCancelled):
        await host.call("nothing", {}, gone)
    await host.unload()


async def test_cancelling_reaches_async_code(make: Make) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    class Model(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            raise AssertionError

    host = make(Model)
    await host.load()
    task = asyncio.ensure_future(host.infer(request(), CallContext()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    await host.unload()


# --- streams ------------------------------------------------------------


async def collect(responses: AsyncIterator[InferenceResponse]) -> list[tuple[str | None, Any]]:
    return [(response.id, response.outputs[0].data) async for response in responses]


async def test_without_a_stream_method_each_request_is_predicted(make: Make) -> None:
    class Model(MLModel):
        def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # sync
            return answered("".join(payload.inputs[0].data))

    host = make(Model)
    info = await host.load()
    assert not info.streams
    got = await collect(host.stream(requests(request("a", id="1"), request("b", id="2")), CallContext()))
    assert got == [("1", ["a"]), ("2", ["b"])]
    await host.unload()


class AsyncGenerator(MLModel):
    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for text in payload.inputs[0].data:
                yield answered(text)


class SyncGenerator(MLModel):
    def predict_stream(self, payloads: Any) -> Any:
        for payload in payloads:
            for text in payload.inputs[0].data:
                assert threading.current_thread() is not threading.main_thread()
                yield answered(text)


class CoroutineFunction(AsyncGenerator):
    async def predict_stream(self, payloads: Any) -> Any:
        return AsyncGenerator.predict_stream(self, payloads)


class PlainFunction(AsyncGenerator):
    def predict_stream(self, payloads: Any) -> Any:
        return [answered(text) for payload in payloads for text in payload.inputs[0].data]


@pytest.mark.parametrize("cls", [AsyncGenerator, SyncGenerator, CoroutineFunction, PlainFunction])
async def test_every_way_to_write_a_stream(make: Make, cls: type[MLModel]) -> None:
    host = make(cls)
    await host.load()
    given = requests(request("a", "b", id="first"), request("c", id="second"))
    assert await collect(host.stream(given, CallContext())) == [
        ("first", ["a"]),
        ("first", ["b"]),
        ("first", ["c"]),
    ]
    await host.unload()


async def test_a_stream_method_of_the_wrong_kind(make: Make) -> None:
    class Model(MLModel):
        async def predict_stream(self, payloads: Any) -> Any:
            return 5

    host = make(Model)
    await host.load()
    with pytest.raises(ModelFailed, match="predict_stream returned a int, which is no iterator"):
        await anext(host.stream(requests(request()), CallContext()))
    await host.unload()


async def test_a_stream_element_of_the_wrong_type(make: Make) -> None:
    class Model(MLModel):
        async def predict_stream(self, payloads: Any) -> Any:
            yield "text"

    host = make(Model)
    await host.load()
    with pytest.raises(ModelFailed, match="predict_stream returned a str, not"):
        await anext(host.stream(requests(request()), CallContext()))
    await host.unload()


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_the_responses_before_an_exception_in_a_stream_are_sent(make: Make, asynchronous: bool) -> None:
    class Async(MLModel):
        async def predict_stream(self, payloads: Any) -> Any:
            yield answered("one")
            raise ValueError("then no more")

    class Sync(MLModel):
        def predict_stream(self, payloads: Any) -> Any:
            yield answered("one")
            raise ValueError("then no more")

    host = make(Async if asynchronous else Sync)
    await host.load()
    responses = host.stream(requests(request()), CallContext())
    assert (await anext(responses)).outputs[0].data == ["one"]
    with pytest.raises(ModelFailed, match="ValueError: then no more"):
        await anext(responses)
    await host.unload()


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_closing_a_stream_early_runs_the_generators_finally(make: Make, asynchronous: bool) -> None:
    ended = threading.Event()

    class Async(MLModel):
        async def predict_stream(self, payloads: Any) -> Any:
            try:
                while True:
                    yield answered("more")
            finally:
                ended.set()

    class Sync(MLModel):
        def predict_stream(self, payloads: Any) -> Any:
            try:
                while True:
                    yield answered("more")
            finally:
                ended.set()

    host = make(Async if asynchronous else Sync)
    await host.load()
    responses = host.stream(requests(request()), CallContext())
    await anext(responses)
    await responses.aclose()  # type: ignore[attr-defined]  # an async generator
    assert ended.is_set()
    await host.unload()


async def test_a_generator_that_fails_while_it_is_closed_is_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    class Model(MLModel):
        async def predict_stream(self, payloads: Any) -> Any:
            try:
                while True:
                    yield answered("more")
            finally:
                raise ValueError("cannot stop")

    host = make(Model)
    await host.load()
    responses = host.stream(requests(request()), CallContext())
    await anext(responses)
    await responses.aclose()  # type: ignore[attr-defined]  # an async generator
    assert "cannot stop" in caplog.text
    await host.unload()


async def test_cancelling_a_stream_in_a_busy_thread_does_not_wait_for_it(make: Make) -> None:
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    class Model(MLModel):
        def predict_stream(self, payloads: Any) -> Any:
            try:
                begun.set()
                release.wait(10)
                yield answered("late")
            finally:
                ended.set()

    host = make(Model)
    await host.load()
    task = asyncio.ensure_future(anext(host.stream(requests(request()), CallContext())))
    assert await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ended.is_set()
    release.set()
    assert await asyncio.to_thread(ended.wait, 10)
    await host.unload()


async def test_taking_requests_on_the_loop_with_a_plain_for_is_refused(make: Make) -> None:
    class Model(MLModel):
        async def predict_stream(self, payloads: Any) -> Any:
            for payload in payloads:
                yield payload

    host = make(Model)
    await host.load()
    with pytest.raises(ModelFailed, match="async for"):
        await anext(host.stream(requests(request()), CallContext()))
    await host.unload()


# --- custom handlers ------------------------------------------------------------


class WithHandlers(EchoModel):
    @custom_handler(rest_path="/add")
    async def add(self, left: int, right: int) -> int:
        return left + right

    @custom_handler(rest_path="/where")
    def where(self) -> str:
        return threading.current_thread().name

    @custom_handler(rest_path="/fail")
    async def fail(self) -> None:
        raise ValueError("never")


async def test_custom_handlers(make: Make) -> None:
    host = make(WithHandlers)
    await host.load()
    assert await host.call("add", {"left": 1, "right": 2}, CallContext()) == 3
    assert await host.call("where", {}, CallContext()) == "test-host-1"
    with pytest.raises(ModelFailed, match="Model m failed: ValueError: never"):
        await host.call("fail", {}, CallContext())
    with pytest.raises(Unsupported, match="no handler predict"):
        await host.call("predict", {}, CallContext())
    await host.unload()


async def test_masked_elements_of_an_answer_are_missing_or_the_models_fault(make: Make) -> None:
    class Masking(MLModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            values = np.ma.array([7, 9], mask=[0, 1])
            return InferenceResponse(
                outputs=[ResponseOutput("y", [2], self.settings.parameters.extra["datatype"], values)]
            )

    host = make(Masking, parameters={"extra": {"datatype": "FP32"}})
    await host.load()
    response = await host.infer(request(), CallContext())
    assert type(response.outputs[0].data) is np.ndarray
    assert response.dict()["outputs"][0]["data"] == [7.0, None]
    await host.unload()
    for datatype in ("INT64", "BOOL"):
        host = make(Masking, parameters={"extra": {"datatype": datatype}})
        await host.load()
        with pytest.raises(ModelFailed, match=r'Model m, output "y": data\[1\] is masked'):
            await host.infer(request(), CallContext())
        await host.unload()
