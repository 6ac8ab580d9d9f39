"""Running: runs each case in an event loop of its own, within a time limit; helps to compare values."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from attrs import frozen

from mlsrv_protocol import binary
from mlsrv_protocol.json import decode_request, decode_response, encode_request, encode_response
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

_T = TypeVar("_T")


@frozen
class Limit:
    """The time that a case may take.

    Attributes:
        seconds: after them it is taken for hung, and fails.
        overrun: is told where it waits, before it is cancelled; that may hang, too.
    """

    seconds: float = 60.0
    overrun: Callable[[str], None] = lambda place: None


limit: ContextVar[Limit] = ContextVar("limit", default=Limit())  # noqa: B039  # it is frozen


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end; fails, and says where it is, when that takes longer than the `limit`, or
    when a cancellation gets out."""
    try:
        return asyncio.run(_within(limit.get(), work))
    except asyncio.CancelledError as error:
        raise AssertionError("a cancellation reached what was not cancelled") from error


async def _within(allowed: Limit, work: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.ensure_future(work)
    await asyncio.wait([task], timeout=allowed.seconds)
    if task.done():
        return task.result()
    others = asyncio.all_tasks() - {task, asyncio.current_task()}
    lines = _awaited(task.get_coro()) + [line for other in others for line in _awaited(other.get_coro())[:3]]
    place = "\n".join(f"  {line}" for line in lines)
    allowed.overrun(place)
    raise AssertionError(f"it did not end within {allowed.seconds:g} seconds; it waits at\n{place}")


def _awaited(awaitable: Any) -> list[str]:
    """Return the lines where a coroutine is suspended in Python code, the innermost first."""
    lines = []
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "ag_frame", None)
        if frame is not None:
            code = frame.f_code
            lines.append(f'File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}')
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "ag_await", None)
    return lines[::-1]


async def eventually(what: str, test: Callable[[], bool | Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait until a test holds.

    Raises:
        AssertionError: it does not within `seconds`.
    """
    end = asyncio.get_running_loop().time() + seconds
    while True:
        result = test()
        if await result if isinstance(result, Awaitable) else result:
            return
        assert asyncio.get_running_loop().time() < end, f"{what} did not happen within {seconds} seconds"
        await asyncio.sleep(0.005)


def notes(path: Path) -> list[str]:
    """Return the notes of a `ScriptedModel` so far."""
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def same(left: Any, right: Any) -> bool:
    """Return True if two Python values are equal.

    Arrays are compared element by element with NaN equal to itself, DataFrames by their own `equals`.
    """
    if hasattr(left, "equals"):
        return type(left) is type(right) and bool(left.equals(right))
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        a, b = np.asarray(left), np.asarray(right)
        return a.shape == b.shape and _same_elements(a, b)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) or (left != left and right != right)


def _same_elements(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    if "O" in (left.dtype.kind, right.dtype.kind):
        return all(map(same, left.reshape(-1).tolist(), right.reshape(-1).tolist()))
    floats = left.dtype.kind == right.dtype.kind == "f"
    return bool(np.array_equal(left, right, equal_nan=floats))


def request_over_json(request: InferenceRequest) -> InferenceRequest:
    """The request as a server sees it after it came over the wire."""
    return decode_request(encode_request(request))


def request_over_binary(request: InferenceRequest) -> InferenceRequest:
    """The request as a server sees it after it came with binary tensors: texts are bytes."""
    length, pieces = binary.encode_request(request)
    return binary.decode_request(b"".join(pieces), length)


def response_over_binary(response: InferenceResponse) -> InferenceResponse:
    """The response as a client sees it that asked for binary tensors."""
    length, pieces = binary.encode_response(response, {output.name for output in response.outputs})
    return binary.decode_response(b"".join(pieces), length)


def response_over_json(response: InferenceResponse) -> InferenceResponse:
    """The response as a client sees it after it went over the wire."""
    response.model_name = response.model_name or "model"
    return decode_response(encode_response(response))
