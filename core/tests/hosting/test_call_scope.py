"""Call scopes: context managers of plugins around model code, harmless when they fail."""

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, ClassVar

import pytest

import mlsrv
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.context import CallContext
from mlsrv.errors import ModelFailed, ModelNotReady
from mlsrv.interceptor import UserCodeContext, WholeCall
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse

live: ContextVar[str] = ContextVar("live", default="nothing")


class Plugin:
    """Lets model code find something, and keeps what it raised."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.settings: Mapping[str, Any] = {}

    @mlsrv.hookimpl
    def mlsrv_user_code(self, settings: Mapping[str, Any], model: ModelSettings) -> UserCodeContext:
        self.settings = settings

        @contextlib.contextmanager
        def around(context: CallContext) -> Iterator[None]:
            token = live.set(f"{model.name} {context.request_id}")
            try:
                yield
            except ValueError as error:
                self.calls.append((context.request_id, str(error)))
                raise
            else:
                self.calls.append((context.request_id, "fine"))
            finally:
                live.reset(token)

        return around


class Seeing(MLModel):
    seen: ClassVar[list[str]] = []

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # in a thread
        self.seen.append(live.get())
        if payload.inputs[0].data[0] == "fail":
            raise ValueError("no")
        return InferenceResponse()

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for _ in payloads:
            self.seen.append(live.get())
            yield InferenceResponse()


@pytest.fixture(autouse=True)
def forget() -> None:
    Seeing.seen.clear()


def kernel_of(*plugins: object) -> Kernel:
    model = ModelSettings(name="m", implementation=Seeing)
    return Kernel({"server_name": "here"}, plugins=plugins, models=[model], discover=False)


async def test_model_code_runs_in_the_scope_and_errors_pass_through_it() -> None:
    plugin = Plugin()
    async with kernel_of(plugin) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("m", ["a"]), CallContext("one"))
        with pytest.raises(ModelFailed, match="ValueError: no"):
            await kernel.infer(text_request("m", ["fail"]), CallContext("two"))
        async for _ in kernel.stream(text_request("m", ["a"]), CallContext("three")):
            pass
    assert Seeing.seen == ["m one", "m two", "m three"]
    assert plugin.calls[:2] == [("one", "fine"), ("two", "no")]
    assert {call[0] for call in plugin.calls[2:]} == {"three"}
    assert plugin.settings["server_name"] == "here"
    assert live.get() == "nothing"


async def test_a_failing_scope_is_logged_and_changes_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        @mlsrv.hookimpl
        def mlsrv_user_code(self) -> UserCodeContext:
            @contextlib.contextmanager
            def around(context: CallContext) -> Iterator[None]:
                if context.request_id == "early":
                    raise RuntimeError("before")
                with contextlib.suppress(ValueError):
                    yield
                raise RuntimeError("after")

            return around

    plugin = Plugin()
    async with kernel_of(Broken(), plugin) as kernel:
        await kernel.loaded()
        with caplog.at_level(logging.ERROR):
            await kernel.infer(text_request("m", ["a"]), CallContext("early"))
            await kernel.infer(text_request("m", ["a"]), CallContext("late"))
            with pytest.raises(ModelFailed, match="ValueError: no"):
                await kernel.infer(text_request("m", ["fail"]), CallContext("failing"))
    failures = [record for record in caplog.records if record.message.startswith("A plugin failed")]
    assert [str(record.exc_info[1]) for record in failures if record.exc_info] == ["before", "after", "after"]
    assert plugin.calls == [("early", "fine"), ("late", "fine"), ("failing", "no")]


@pytest.mark.parametrize("answer", ["no callable", RuntimeError("cannot say")])
async def test_a_plugin_that_answers_nonsense_fails_the_load(answer: object) -> None:
    class Wrong:
        @mlsrv.hookimpl
        def mlsrv_user_code(self) -> object:
            if isinstance(answer, Exception):
                raise answer
            return answer

    async with kernel_of(Wrong()) as kernel:
        await kernel.loaded()
        with pytest.raises(ModelNotReady, match=r"Wrong.*mlsrv_user_code"):
            await kernel.infer(text_request("m", ["a"]))


class Noted(WholeCall):
    """Notes what happens to it."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        notes.append("made")

    def __enter__(self) -> None:
        self.notes.append("in")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.notes.append("out" if error is None else f"out with {error}")

    def close(self) -> None:
        self.notes.append("closed")
        raise RuntimeError("even if it fails")


async def test_the_scope_of_a_stream_is_closed_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    notes: list[str] = []

    class Whole:
        @mlsrv.hookimpl
        def mlsrv_user_code(self) -> UserCodeContext:
            return lambda context: Noted(notes)

    async with kernel_of(Whole()) as kernel:
        await kernel.loaded()
        async for _ in kernel.stream(text_request("m", ["a"])):
            pass
        steps = ["in", "out"] * 4  # opened, one response, the end, closed
        assert notes == ["made", *steps, "closed"]
        notes.clear()
        await kernel.infer(text_request("m", ["a"]))
        with pytest.raises(ModelFailed, match="ValueError: no"):
            await kernel.infer(text_request("m", ["fail"]))
        assert notes == ["made", "in", "out", "closed", "made", "in", "out with no", "closed"]
    failures = {record.message for record in caplog.records if record.name == "mlsrv.model"}
    assert failures == {"A plugin failed after a call of model code"}
