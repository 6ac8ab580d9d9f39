"""Fault: decides whether an error raised by the code of a model is the fault of the model or of the request.

The classes alone do not say: an `InvalidPayload` may mean that an input cannot be decoded, or that an output
cannot be encoded. The traceback says: what was raised while the request was read, or by the model itself, is
what its class says; what was raised while messages of an answer were made is the fault of the model.
"""

from __future__ import annotations

import asyncio
import dis
import functools
import signal
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from mlsrv.errors import (
    ConfigurationError,
    InferenceError,
    InputsNotFound,
    InvalidPayload,
    MLSrvError,
    ModelLoadError,
    ModelNotFound,
    OutputNotFound,
)

_OF_REQUESTS = (InvalidPayload, InferenceError)
"""Errors that say that a request is wrong."""

_OF_SERVERS = (ConfigurationError, ModelLoadError, ModelNotFound)
"""Errors that no request to a loaded model can be the reason of."""

_READING = frozenset({"decode_input", "decode_request", "encode_as_asked"})
"""Functions that read a request, or do what it asks for in so many words."""

_READING_IN = (
    "InferenceRequest.parse_",
    "RequestInput.parse_",
    "RequestOutput.parse_",
    "StreamRequests.",
    "_Plan.",
)

_MAKING = frozenset(
    {"encode_output", "encode_response", "encode_input", "encode_request", "decode_output", "decode_response"}
)
"""Functions that make messages, or read the answers of others."""

_MAKING_HERE = frozenset({"declared_codec", "encoded"})
"""The same, in mlsrv and its plugins alone."""


def is_of_model(error: MLSrvError) -> bool:
    """Return True if an error that left the code of a model is the model's fault."""
    if isinstance(error, _OF_SERVERS):
        return True
    if not isinstance(error, _OF_REQUESTS) or isinstance(error, InputsNotFound | OutputNotFound):
        return False
    frames = list(_frames(error))
    if any(map(_reads, frames)):
        return False
    if any(map(_makes, frames)):
        return True
    # A message was made, changed or parsed, and it was none of a request.
    return isinstance(error, InvalidPayload) and any(
        _module(frame).startswith("mlsrv_protocol") for frame in frames
    )


def is_shutdown(error: BaseException) -> bool:
    """Return True if an exception is not the fault of the code of a model.

    Its task is cancelled or closed, or the process ends. Every other exception, SystemExit, a
    KeyboardInterrupt without a signal and a GeneratorExit without a close too, fails one request or one load
    and must not end the server.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    if isinstance(error, KeyboardInterrupt):
        return _is_signal(error)
    return isinstance(error, GeneratorExit) and not _was_raised(error)


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _reads(frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_name in _READING or code.co_qualname.startswith(_READING_IN)


def _makes(frame: FrameType) -> bool:
    name = frame.f_code.co_name
    return name in _MAKING or (name in _MAKING_HERE and _module(frame).startswith("mlsrv"))


def _is_signal(error: KeyboardInterrupt) -> bool:
    """Return True if a signal of the operating system is the reason of an interrupt."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        return not _was_raised(error)
    code = _code_of(handler)
    return code is not None and any(frame.f_code is code for frame in _frames(error))


def _was_raised(error: BaseException) -> bool:
    """Return True if a ``raise`` statement raised an exception. The default handler of signals and the close
    of a coroutine or generator, which are no Python code, have none."""
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return getattr(getattr(handler, "__func__", handler), "__code__", None)
