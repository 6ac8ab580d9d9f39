"""Questions: those that models of this worker have for other models, which the server takes to them."""

from __future__ import annotations

import asyncio
import itertools

from mlsrv.context import CallContext
from mlsrv.errors import ModelFailed
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.failures import load_error
from mlsrv_executor_kit.plain_data import dump_plain
from mlsrv_executor_kit.plain_values import dump_value
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.frames import Frame, FrameKind

SYNCHRONOUS = "Only asynchronous code of a model (async def predict) can ask other models."


class Questions:
    """Sends questions to the server and waits for their answers.

    Args:
        connection: to the server; its event loop is that of the models.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Frame]] = {}

    async def ask(self, call: int, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        """Return the answer to a question of the code that answers a call.

        Raises:
            MLSrvError: that of the other model.
            ModelFailed: the code runs in a thread.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise ModelFailed(SYNCHRONOUS)
        context.check()
        number = next(self._numbers)
        buffers: serialization.Buffers = []
        body = dump_value((number, serialization.dump_request(request, buffers)))
        waiting = self._waiting[number] = self._loop.create_future()
        self._connection.send(FrameKind.ASK, call, body, buffers)
        try:
            frame = await waiting
        except asyncio.CancelledError:
            self._connection.send(FrameKind.ASK, call, dump_plain((number, None)))
            raise
        finally:
            del self._waiting[number]
        answer, error = frame.plain()
        if error is not None:
            raise load_error(error)
        return serialization.load_response(answer, frame.buffers)

    def settle(self, frame: Frame) -> None:
        """Hand an answer to the code that waits for it, if it still does."""
        waiting = self._waiting.get(frame.call)
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)
