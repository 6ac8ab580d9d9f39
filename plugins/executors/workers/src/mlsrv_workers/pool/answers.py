"""Answers: what workers send, taken apart; whatever is wrong with it is an error of that call alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from mlsrv.context import CallContext
from mlsrv.executor import ModelInfo
from mlsrv_executor_kit import serialization
from mlsrv_protocol.encoded import EncodedResponse
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.types import InferenceResponse
from mlsrv_workers.ipc.failures import unreadable
from mlsrv_workers.ipc.frames import Frame

_LARGE: Final = 2**18
"""Bytes of a frame beside its arrays from which it holds very many values."""

_T = TypeVar("_T")


async def read(reader: Callable[..., _T], frame: Frame, *arguments: Any) -> _T:
    """Return ``reader(frame, *arguments)``, of one of the functions below. A frame with very many values is
    read in a thread, so that the event loop goes on. Raises as the function does."""
    if len(frame.body) < _LARGE:
        return reader(frame, *arguments)
    return await asyncio.to_thread(reader, frame, *arguments)


def response_of(frame: Frame, context: CallContext | None = None) -> InferenceResponse:
    """Return the response in a frame; `context` gets the spans that come with it.

    Raises:
        ModelFailed: the frame has something else.
        InvalidPayload: the model gave a datatype that does not exist.
    """
    try:
        answer, *spans = frame.plain()
        if context is not None:
            serialization.load_timeline(spans[0], context)
        return serialization.load_response(answer, frame.buffers)
    except InvalidPayload:
        raise
    except Exception as error:  # of any kind: the worker decides what it sends
        raise unreadable(error) from error


def encoded_of(frame: Frame, context: CallContext) -> EncodedResponse | None:
    """Return the response to an encoded request in a frame, or None if the request was not valid. Raises as
    `response_of`."""
    try:
        answer, spans, *counts = frame.plain()
        serialization.load_timeline(spans, context)
        if answer is None:
            return None
        [[rows, received, sent]] = counts
        if not type(rows) is type(received) is type(sent) is int:
            raise TypeError("the counts of a response are no whole numbers")
        if len(answer) > 2:
            response = serialization.load_response(answer, frame.buffers)
            return EncodedResponse(b"", {}, rows, received, sent, response)
        body, headers = answer
        if type(body) is not bytes or type(headers) is not dict:
            raise TypeError("an encoded response is bytes, with headers")
        return EncodedResponse(body, headers, rows, received, sent)
    except InvalidPayload:
        raise
    except Exception as error:  # of any kind: the worker decides what it sends
        raise unreadable(error) from error


def result_of(frame: Frame) -> Any:
    """Return the result of a custom handler. Raises as `response_of` does."""
    return _read(lambda: serialization.load_result(frame.plain(), frame.buffers))


def info_of(plain: Any, replicas: int) -> ModelInfo:
    """Return the description of a model that was loaded. Raises as `response_of` does."""
    return _read(lambda: serialization.load_info(plain, replicas))


def plain_of(frame: Frame) -> Any:
    """Return the plain data of a frame. Raises as `response_of` does."""
    return _read(frame.plain)


def add_spans(frame: Frame, context: CallContext) -> None:
    """Add the spans in the last frame of a stream to those of its context. Raises as `response_of` does."""
    _read(lambda: serialization.load_timeline(frame.plain(), context))


def _read(read: Callable[[], _T]) -> _T:
    try:
        return read()
    except InvalidPayload:
        raise
    except Exception as error:  # of any kind: the worker decides what it sends
        raise unreadable(error) from error
