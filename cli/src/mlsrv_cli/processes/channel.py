"""Channel: questions, answers and news between the supervisor and one process."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from mlsrv.errors import Code, MLSrvError, ServerNotReady

logger = logging.getLogger("mlsrv.cli")

Asked: TypeAlias = Callable[[str, Any], Awaitable[Any]]
Told: TypeAlias = Callable[[str, Any], None]

MOST_UNSENT = 64 * 2**20
"""Bytes that may wait for the other end to read; with more, the connection is closed, and a process stops
when it sees that."""

_LENGTH = struct.Struct("!I")


class ChannelEnded(ServerNotReady):
    """The other end is gone."""


class Channel:
    """One end of a pair of sockets. What is sent arrives in its order; each question is a task at its end.

    Args:
        asked: answers the questions of the other end; an `MLSrvError` travels, with its code and sentence.
        told: takes its news, in turn.
    """

    def __init__(self, asked: Asked, told: Told) -> None:
        self._asked = asked
        self._told = told
        self._ids = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, end: socket.socket) -> None:
        """Take a connected socket, over which this end can send from now on."""
        self._reader, self._writer = await asyncio.open_connection(sock=end)

    async def run(self) -> None:
        """Read until the other end is closed; then every open question fails."""
        reader, writer = self._reader, self._writer
        assert reader is not None
        assert writer is not None
        try:
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                self._take(json.loads(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            self._writer = None
            for future in self._open.values():
                if not future.done():
                    future.set_exception(ChannelEnded("The process has ended."))

    def tell(self, topic: str, value: Any = None) -> None:
        """Send news. Does nothing once the other end is closed."""
        self._send({"tell": topic, "value": value})

    async def ask(self, topic: str, argument: Any = None, seconds: float | None = None) -> Any:
        """Return the other end's answer.

        Raises:
            ChannelEnded: it is gone.
            TimeoutError: it did not answer within `seconds`.
            MLSrvError: what it answered.
        """
        if self._writer is None:
            raise ChannelEnded("The process is not there.")
        number = next(self._ids)
        self._open[number] = asyncio.get_running_loop().create_future()
        self._send({"ask": number, "topic": topic, "value": argument})
        try:
            return await asyncio.wait_for(self._open[number], seconds)
        finally:
            del self._open[number]

    def _take(self, message: dict[str, Any]) -> None:
        if "tell" in message:
            self._told(message["tell"], message["value"])
        elif "ask" in message:
            task = asyncio.create_task(self._answer(message["ask"], message["topic"], message["value"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            future = self._open.get(message["answer"])
            if future is None or future.done():
                return  # it was given up
            if "error" in message:
                future.set_exception(_error(*message["error"]))
            else:
                future.set_result(message["value"])

    async def _answer(self, number: int, topic: str, argument: Any) -> None:
        try:
            message = {"answer": number, "value": await self._asked(topic, argument)}
        except MLSrvError as error:
            message = {"answer": number, "error": [error.code.value, str(error)]}
        except Exception as error:  # the process that asks must not wait for ever
            logger.exception("A question of another process cannot be answered")
            message = {"answer": number, "error": [Code.INTERNAL.value, f"{type(error).__name__}: {error}"]}
        self._send(message)

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is None:
            return
        body = json.dumps(message).encode()
        if self._writer.transport.get_write_buffer_size() + len(body) > MOST_UNSENT:
            logger.error("Another process of this server does not read; its connection is closed")
            self._writer.transport.abort()
            return
        self._writer.write(_LENGTH.pack(len(body)) + body)


def _error(code: str, text: str) -> MLSrvError:
    made = MLSrvError(text)
    made.code = Code(code)
    return made
