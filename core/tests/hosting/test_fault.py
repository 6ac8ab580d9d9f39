"""Whose fault an error is: the request's where it is read, the model's where the answer is made."""

import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from mlsrv.codecs import InputCodec, NumpyCodec, StringCodec, decode_args
from mlsrv.context import CallContext
from mlsrv.errors import (
    Code,
    CodecError,
    CodecNotFound,
    ConfigurationError,
    InferenceError,
    InputsNotFound,
    InvalidPayload,
    MLSrvError,
    ModelFailed,
    ModelNotFound,
)
from mlsrv.handlers import HandlerRequest, custom_handler
from mlsrv.hosting.catalog import Catalog
from mlsrv.hosting.fault import is_shutdown
from mlsrv.hosting.model_host import ModelHost
from mlsrv.model import MLModel
from mlsrv.plugins import Plugins
from mlsrv.settings import ModelSettings
from mlsrv.testing import text_request
from mlsrv.threads import Threads
from mlsrv.types import (
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlsrv.utils import model_uri

Act = Callable[["Acting", InferenceRequest], Any]


class OwnCodec(InputCodec):
    """A codec of a model, which refuses everything."""

    ContentType = "own"
    TypeHint = complex

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, complex)

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        raise InferenceError("No such number can be written.")

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        raise InferenceError("No such number can be read.")


class Acting(MLModel):
    """Does what a test says."""

    act: Act

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        result: InferenceResponse = type(self).act(self, payload)
        return result

    @custom_handler(rest_path="/handle")
    def handle(self, body: bytes) -> Any:
        return type(self).act(self, text_request("m", [body.decode()]))


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(2, "test-fault")
    yield made
    made.close()


async def outcome(
    threads: Threads, act: Act, request: InferenceRequest | None = None, **settings: Any
) -> Any:
    """Return what a model answers that does this, in a thread and on the loop, or its error."""

    class Model(Acting):
        pass

    Model.act = act
    host = ModelHost(ModelSettings(name="m", implementation=Model, **settings), Catalog(Plugins()), threads)
    await host.load()
    try:
        return await host.infer(request or text_request("m", ["a"]), CallContext())
    except MLSrvError as error:
        return error
    finally:
        await host.unload()


def output(*args: Any, **kwargs: Any) -> Act:
    return lambda model, request: InferenceResponse(outputs=[ResponseOutput(*args, **kwargs)])


def changed(model: MLModel, request: InferenceRequest) -> InferenceResponse:
    request.inputs[0].datatype = "int"  # type: ignore[assignment]  # what this is about
    return InferenceResponse.parse_obj({"outputs": [request.inputs[0].to_plain()]})


def raising(error: Exception) -> Act:
    def act(model: MLModel, request: InferenceRequest) -> Any:
        raise error

    return act


MODELS_FAULT: dict[str, Act] = {
    "a datatype that does not exist": output("y", [1], "int", [1]),
    "headers that are no texts": lambda model, request: InferenceResponse(
        outputs=[], parameters=Parameters(headers={"x-bar": 5})
    ),
    "parameters as a dict": lambda model, request: InferenceResponse(
        outputs=[], parameters={"content_type": 5}
    ),
    "a content type that is no text": output("y", [1], "INT64", [1], Parameters(content_type="x"), 3),
    "dates by the codec": lambda model, request: InferenceResponse(
        outputs=[NumpyCodec.encode_output("y", np.array(["2024-01-01"], dtype="datetime64[D]"))]
    ),
    "dates by the model": lambda model, request: InferenceResponse(
        outputs=[model.encode(np.array([object()]), RequestOutput("y"))]
    ),
    "a value that no codec encodes": lambda model, request: model.encode_response(object()),
    "an answer of another server": lambda model, request: InferenceResponse.parse_raw(
        b'{"outputs":[{"name":"y"}]}'
    ),
    "a request that the model makes": lambda model, request: RequestInput("x", [1], "int", [1]),
    "an input that the model changes": changed,
    "a codec that the metadata names": lambda model, request: model.encode(5, RequestOutput("declared")),
    "an answer that is decoded": lambda model, request: StringCodec.decode_output(
        ResponseOutput("y", [1], "FP32", [1.0])
    ),
    "a codec of its own": lambda model, request: OwnCodec.encode_output("y", 1j),
    "a setting": raising(ConfigurationError("host: wrong")),
    "another model": raising(ModelNotFound.of("other")),
    "a file": lambda model, request: model_uri(ModelSettings(name="m")),
}

CLIENTS_FAULT: dict[str, tuple[Act, type[MLSrvError]]] = {
    "refused on purpose": (raising(InferenceError("too many")), InferenceError),
    "refused as missing": (raising(InputsNotFound.missing("m", ["x"], ["x"])), InputsNotFound),
    "refused by a codec's error": (raising(CodecError("not this")), CodecError),
    "refused by the protocol's error": (raising(InvalidPayload("not that")), InvalidPayload),
    "an input decoded by a codec": (
        lambda model, request: StringCodec.decode_input(RequestInput("x", [1], "FP32", [1.0])),
        CodecError,
    ),
    "an input decoded by the model": (lambda model, request: model.decode(request.inputs[0]), CodecNotFound),
    "an input decoded by its own codec": (
        lambda model, request: OwnCodec.decode_input(request.inputs[0]),
        InferenceError,
    ),
    "a request that is parsed": (
        lambda model, request: InferenceRequest.parse_raw(b'{"inputs":[{"name":"y"}]}'),
        InvalidPayload,
    ),
    "a content type that is asked for": (
        lambda model, request: model.encode(5, RequestOutput("y", Parameters(content_type="nonsense"))),
        CodecNotFound,
    ),
    "a content type that is asked for and does not do": (
        lambda model, request: model.encode([5.5], RequestOutput("y", Parameters(content_type="datetime"))),
        CodecError,
    ),
}


@pytest.mark.parametrize("what", MODELS_FAULT)
async def test_what_goes_wrong_while_an_answer_is_made_is_the_fault_of_the_model(
    threads: Threads, what: str
) -> None:
    declared = [{"name": "declared", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "no"}}]
    error = await outcome(threads, MODELS_FAULT[what], outputs=declared)
    assert isinstance(error, ModelFailed)
    assert error.code is Code.INTERNAL
    assert str(error).startswith("Model m failed: ")
    assert "\n" not in str(error)


@pytest.mark.parametrize("what", CLIENTS_FAULT)
async def test_what_goes_wrong_while_a_request_is_read_stays_the_fault_of_the_client(
    threads: Threads, what: str
) -> None:
    act, kind = CLIENTS_FAULT[what]
    wrong = InferenceRequest(
        inputs=[RequestInput("x", [1], "BYTES", ["a"], Parameters(content_type="nonsense"))]
    )
    error = await outcome(threads, act, wrong)
    assert type(error) is kind
    assert error.code is Code.INVALID_ARGUMENT


async def test_the_same_holds_for_a_custom_handler(threads: Threads) -> None:
    class Model(Acting):
        act = output("y", [1], "int", [1])

    host = ModelHost(ModelSettings(name="m", implementation=Model), Catalog(Plugins(discover=False)), threads)
    await host.load()
    with pytest.raises(ModelFailed, match="is not a datatype"):
        await host.call("handle", HandlerRequest(body=b"a"), CallContext())
    Model.act = lambda model, request: {"set": {1, 2}}
    with pytest.raises(ModelFailed):
        await host.call("handle", HandlerRequest(body=b"a"), CallContext())
    Model.act = lambda model, request: InferenceRequest.parse_raw(b"{")
    with pytest.raises(InvalidPayload):
        await host.call("handle", HandlerRequest(body=b"a"), CallContext())
    await host.unload()


@pytest.mark.parametrize("threaded", [False, True])
async def test_a_wrong_request_in_a_stream_stays_the_fault_of_the_client(
    threads: Threads, threaded: bool
) -> None:
    class OnTheLoop(MLModel):
        async def predict_stream(
            self, payloads: AsyncIterator[InferenceRequest]
        ) -> AsyncIterator[InferenceResponse]:
            async for payload in payloads:
                yield InferenceResponse(outputs=[ResponseOutput("y", [1], payload.inputs[0].data[0], [1])])

    class InAThread(MLModel):
        def predict_stream(self, payloads: Any) -> Any:
            for payload in payloads:
                yield InferenceResponse(outputs=[ResponseOutput("y", [1], payload.inputs[0].data[0], [1])])

    async def requests(*texts: str) -> AsyncIterator[InferenceRequest]:
        for text in texts:
            if text == "wrong":
                InferenceRequest.parse_obj({"inputs": [{"name": "x"}]})
            yield text_request("m", [text])

    cls = InAThread if threaded else OnTheLoop
    host = ModelHost(ModelSettings(name="m", implementation=cls), Catalog(Plugins(discover=False)), threads)
    await host.load()
    for texts, kind in ((("INT64", "wrong"), InvalidPayload), (("INT64", "int"), ModelFailed)):
        responses = host.stream(requests(*texts), CallContext())
        await anext(responses)
        with pytest.raises(MLSrvError) as caught:
            await anext(responses)
        assert type(caught.value) is kind
    await host.unload()


async def test_annotations_of_a_method_are_read_for_the_client_and_written_by_the_model(
    threads: Threads,
) -> None:
    class Model(MLModel):
        @decode_args
        def predict(self, n: int) -> dict[str, np.ndarray]:  # type: ignore[override]  # decorated
            return {"y": np.array([None])} if n else {"y": np.array([1])}

    host = ModelHost(ModelSettings(name="m", implementation=Model), Catalog(Plugins()), threads)
    await host.load()

    def request(value: Any, datatype: str, asked: str | None = None) -> InferenceRequest:
        outputs = None if asked is None else [RequestOutput("y", Parameters(content_type=asked))]
        return InferenceRequest(inputs=[RequestInput("n", [1], datatype, [value])], outputs=outputs)

    with pytest.raises(CodecError):
        await host.infer(request(3.5, "FP32"), CallContext())
    with pytest.raises(ModelFailed):
        await host.infer(request(1, "INT64"), CallContext())
    with pytest.raises(CodecNotFound):
        await host.infer(request(0, "INT64", "nonsense"), CallContext())
    await host.unload()


# --- interrupts -------------------------------------------------------------


async def test_an_interrupt_that_code_raises_fails_one_request(threads: Threads) -> None:
    error = await outcome(threads, raising(KeyboardInterrupt()))  # type: ignore[arg-type]  # a base exception
    assert isinstance(error, ModelFailed)
    assert str(error) == "Model m failed: KeyboardInterrupt"


async def test_the_exit_of_a_generator_that_code_raises_fails_one_request(threads: Threads) -> None:
    error = await outcome(threads, raising(GeneratorExit()))  # type: ignore[arg-type]  # a base exception
    assert isinstance(error, ModelFailed)
    assert str(error) == "Model m failed: GeneratorExit"


def test_the_close_of_a_coroutine_that_cleans_up_is_a_shutdown() -> None:
    seen: list[bool] = []

    async def inner() -> None:
        try:
            await asyncio.Future()
        except GeneratorExit:
            raise

    async def call() -> None:
        try:
            await inner()
        except GeneratorExit as error:
            seen.append(is_shutdown(error))
            raise

    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        coroutine = call()
        coroutine.send(None)
        coroutine.close()
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert seen == [True]


def test_an_interrupt_of_a_signal_is_a_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)

    def interrupted() -> bool:
        try:
            signal.raise_signal(signal.SIGINT)
            for _ in range(1000):
                sys.intern("x")
        except KeyboardInterrupt as error:
            return is_shutdown(error)
        raise AssertionError

    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        for given in (signal.default_int_handler, handler):
            signal.signal(signal.SIGINT, given)
            assert interrupted()
            with pytest.raises(KeyboardInterrupt) as caught:
                raise KeyboardInterrupt
            assert not is_shutdown(caught.value)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_of_the_runner_of_asyncio_is_a_shutdown() -> None:
    async def main() -> bool:
        handler: Any = signal.getsignal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(5)
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        try:
            handler(signal.SIGINT, None)
        except KeyboardInterrupt as error:
            return is_shutdown(error)
        raise AssertionError

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which the runner replaces
    try:
        assert asyncio.run(main())
    finally:
        signal.signal(signal.SIGINT, before)
