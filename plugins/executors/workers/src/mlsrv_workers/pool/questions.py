"""Questions: those that models of one worker ask, taken to other models by the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError, ModelFailed
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.failures import dump_error
from mlsrv_executor_kit.plain_values import dump_value
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, RequestInput
from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.frames import Frame, FrameKind
from mlsrv_workers.pool.pending_calls import PendingCall

MOST_QUESTIONS = 1000
"""Questions of one worker that wait for an answer at a time; more are refused."""

Asker = Callable[[InferenceRequest, CallContext], Awaitable[InferenceResponse]]
"""Takes a request to the model that it names, and returns the answer."""


class Questions:
    """Answers the questions of one worker.

    While a call waits for answers it takes no slot: the model that it asks may need that of the same worker.

    Args:
        asker: takes them to other models.
        on_waiting: called with the id of a call that begins to wait, and True; with False once it has all
            answers.
    """

    def __init__(self, asker: Asker, on_waiting: Callable[[int, bool], None]) -> None:
        self._asker = asker
        self._on_waiting = on_waiting
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def take(self, frame: Frame, pending: PendingCall | None, connection: Connection) -> None:
        """Handle a question, or the end of one.

        Args:
            frame: has the question; whatever is wrong with it is an error of this question alone.
            pending: the call whose code asks, if it is still running.
            connection: to the worker.

        Raises:
            Exception: the frame has no number to answer to.
        """
        number, plain = frame.plain()
        if plain is None:
            if (task := self._tasks.get(number)) is not None:
                task.cancel()
            return
        if pending is None or pending.context is None or number in self._tasks:
            return
        if len(self._tasks) >= MOST_QUESTIONS:
            refusal = ModelFailed(f"More than {MOST_QUESTIONS} questions of one worker wait for answers.")
            connection.send(FrameKind.ANSWER, number, dump_value((None, dump_error(refusal))))
            return
        task = asyncio.create_task(self._answer(number, plain, frame, pending.context, connection))
        self._tasks[number] = task
        # A callback, because a task that is cancelled before its first step runs none of its code.
        task.add_done_callback(partial(self._done, number, frame.call, pending))
        self._wait(frame.call, pending, 1)

    def stop(self) -> None:
        """Give up all questions."""
        for task in self._tasks.values():
            task.cancel()

    async def _answer(
        self, number: int, plain: Any, frame: Frame, context: CallContext, connection: Connection
    ) -> None:
        buffers: serialization.Buffers = []
        try:
            response = await self._ask(plain, frame, context)
            body = serialization.dump_response(response, buffers, None)
        except MLSrvError as error:
            body = dump_value((None, dump_error(error)))
        except Exception as error:  # of any kind: the worker decides what it sends
            buffers.clear()
            what = "A question to another model cannot be read or its answer sent"
            body = dump_value((None, dump_error(ModelFailed(f"{what}: {type(error).__name__}: {error}"))))
        connection.send(FrameKind.ANSWER, number, body, buffers)

    async def _ask(self, plain: Any, frame: Frame, context: CallContext) -> InferenceResponse:
        loaded = serialization.load_request(plain, frame.buffers)
        loaded.inputs = [
            RequestInput(one.name, one.shape, one.datatype, one.data, one.parameters, nested=one.nested)
            for one in loaded.inputs
        ]
        child = context.question()
        child.on_cancel(_canceller())
        return await self._asker(loaded, child)

    def _done(self, number: int, call: int, pending: PendingCall, _: asyncio.Task[None]) -> None:
        del self._tasks[number]
        self._wait(call, pending, -1)

    def _wait(self, call: int, pending: PendingCall, change: int) -> None:
        before = pending.questions
        pending.questions += change
        if not before or not pending.questions:
            self._on_waiting(call, not before)


def _canceller() -> Callable[[], None]:
    """Return a function that cancels the current task."""
    task = asyncio.current_task()

    def cancel() -> None:
        if task is not None:
            task.cancel()

    return cancel
