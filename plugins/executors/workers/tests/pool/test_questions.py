"""Questions of a worker, which may send whatever it likes."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from mlsrv.context import CallContext
from mlsrv.errors import InvalidPayload
from mlsrv.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.failures import load_error
from mlsrv_executor_kit.plain_data import dump_plain, load_plain
from mlsrv_workers.ipc.frames import Frame, FrameKind
from mlsrv_workers.pool import questions as module
from mlsrv_workers.pool.pending_calls import PendingCall
from mlsrv_workers.pool.questions import Questions
from mlsrv_workers.pool.slot import Slot


class Sent:
    """Stands for a connection: notes the answers, by number."""

    def __init__(self) -> None:
        self.answers: dict[int, Any] = {}
        self.any = asyncio.Event()

    def send(self, kind: FrameKind, call: int, body: bytes, buffers: object = None) -> None:
        assert kind is FrameKind.ANSWER
        self.answers[call] = load_plain(body)
        self.any.set()


def frame(number: object, plain: object) -> Frame:
    return Frame(FrameKind.ASK, 5, dump_plain((number, plain)), [])


def question(number: int = 1, value: int = 3) -> Frame:
    tensor = RequestInput("x", [1], "INT64", np.array([value]))
    return frame(number, serialization.dump_request(InferenceRequest([tensor], model_name="m"), []))


async def doubled(request: InferenceRequest, context: CallContext) -> InferenceResponse:
    assert context.depth == 1
    return InferenceResponse(
        outputs=[ResponseOutput("y", [1], "INT64", request.inputs[0].data * 2)], model_name="m"
    )


async def endless(request: InferenceRequest, context: CallContext) -> InferenceResponse:
    await asyncio.Event().wait()
    raise AssertionError


def pending() -> PendingCall:
    return PendingCall(Slot.ASYNCHRONOUS, CallContext())


async def test_an_answer_and_the_slot_meanwhile() -> None:
    waits: list[tuple[int, bool]] = []
    sent, call = Sent(), pending()
    questions = Questions(doubled, lambda number, waiting: waits.append((number, waiting)))
    questions.take(question(1), call, sent)  # type: ignore[arg-type]  # it has the one method that is needed
    questions.take(question(2), call, sent)  # type: ignore[arg-type]
    assert (call.questions, waits) == (2, [(5, True)])
    while len(sent.answers) < 2:
        sent.any.clear()
        await asyncio.wait_for(sent.any.wait(), 20)
    await asyncio.sleep(0)
    assert (call.questions, waits) == (0, [(5, True), (5, False)])
    answer, error = sent.answers[1]
    assert error is None
    assert serialization.load_response(answer, []).outputs[0].data.tolist() == [6]


@pytest.mark.parametrize(
    "plain",
    [
        (),
        "text",
        (None, None, [("x", [1], "INT64", None, ("O", (1,)), b"12345678", False)], None, "m", None),
        (None, None, [("x", [1], "FP99", None, None, [1], False)], None, "m", None),
        (None, None, 7, None, "m", None),
    ],
    ids=["nothing", "text", "objects", "datatype", "inputs"],
)
async def test_whatever_cannot_be_read_is_an_error_of_this_question(plain: object) -> None:
    sent, call = Sent(), pending()
    questions = Questions(doubled, lambda *_: None)
    questions.take(frame(1, plain), call, sent)  # type: ignore[arg-type]
    await asyncio.wait_for(sent.any.wait(), 20)
    assert sent.answers[1][0] is None
    assert load_error(sent.answers[1][1])
    await asyncio.sleep(0)
    assert call.questions == 0


async def test_the_error_of_the_other_model() -> None:
    async def refuses(request: InferenceRequest, context: CallContext) -> InferenceResponse:
        raise InvalidPayload("not this")

    sent = Sent()
    Questions(refuses, lambda *_: None).take(question(), pending(), sent)  # type: ignore[arg-type]
    await asyncio.wait_for(sent.any.wait(), 20)
    error = load_error(sent.answers[1][1])
    assert isinstance(error, InvalidPayload)
    assert str(error) == "not this"


async def test_questions_of_calls_that_have_ended_are_not_asked() -> None:
    sent = Sent()
    questions = Questions(doubled, lambda *_: None)
    questions.take(question(), None, sent)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert sent.answers == {}


async def test_more_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_QUESTIONS", 2)
    sent, call = Sent(), pending()
    questions = Questions(endless, lambda *_: None)
    for number in range(3):
        questions.take(question(number), call, sent)  # type: ignore[arg-type]
    assert list(sent.answers) == [2]
    assert "More than 2 questions" in str(load_error(sent.answers[2][1]))
    questions.stop()


@pytest.mark.parametrize("how", ["given up", "cancelled", "stopped"])
async def test_a_question_that_ends_early(how: str) -> None:
    sent, call = Sent(), pending()
    questions = Questions(endless, lambda *_: None)
    questions.take(question(), call, sent)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    if how == "given up":
        questions.take(frame(1, None), call, sent)  # type: ignore[arg-type]
    elif how == "cancelled":
        assert call.context is not None
        call.context.cancel()
    else:
        questions.stop()
    async with asyncio.timeout(20):
        while call.questions:
            await asyncio.sleep(0)
    assert sent.answers == {}
