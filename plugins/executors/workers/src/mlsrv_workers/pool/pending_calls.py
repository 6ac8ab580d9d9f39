"""Pending calls: what was sent to a worker and is not yet answered."""

from __future__ import annotations

import asyncio

from mlsrv.context import CallContext
from mlsrv.errors import MLSrvError
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.failures import load_error
from mlsrv_workers.ipc.failures import unreadable
from mlsrv_workers.ipc.frames import STREAM_WINDOW, Frame, FrameKind
from mlsrv_workers.pool.slot import Slot


class PendingCall:
    """A call that was sent to a worker and is not yet answered.

    Attributes:
        slot: the kind of slot that it takes; None for loads and unloads.
        context: context of the request, if there is one.
        model: id of the placement; 0 for loads and unloads.
        overdue: True once the call was given up long ago and is still running.
        questions: number of questions to other models whose answers its code waits for; while there are any,
            it takes no slot.
        alone: whether no other request may run beside it, while it waits for answers.
        future: the last frame of the answer.
    """

    def __init__(self, slot: Slot | None, context: CallContext | None = None, model: int = 0) -> None:
        self.slot = slot
        self.context = context
        self.model = model
        self.overdue = False
        self.questions = 0
        self.alone = False
        self.future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()

    def settle(self, frame: Frame) -> None:
        """Set the result from the last frame."""
        if frame.kind is FrameKind.ERROR:
            self.fail(self._error_of(frame))
        elif not self.future.done():
            self.future.set_result(frame)

    def _error_of(self, frame: Frame) -> MLSrvError:
        try:
            plain, spans = frame.plain()
            error = load_error(plain)
            if self.context is not None:
                serialization.load_timeline(spans, self.context)
        except Exception as problem:  # of any kind: the worker decides what it sends
            error = unreadable(problem)
        return error

    def fail(self, error: MLSrvError) -> None:
        """Fail the call, because no answer will come."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # marks it as retrieved: the caller may be gone


class PendingStream(PendingCall):
    """A stream that was sent to a worker and has not ended.

    Attributes:
        items: the response frames, then None.
        credit: number of further requests that may be sent before the worker has read the earlier ones.
    """

    def __init__(self, slot: Slot, context: CallContext, model: int) -> None:
        super().__init__(slot, context, model)
        self.items: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.credit = asyncio.Semaphore(STREAM_WINDOW)
        self.future.add_done_callback(lambda _: self.items.put_nowait(None))
