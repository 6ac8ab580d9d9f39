"""Calls: what the server sends to an actor, and what it gets back, as bytes and arrays.

A call is a pickled tuple, which the actor trusts, and the large arrays of its request. An answer is
``(True, plain data, arrays…)`` or ``(False, the plain data of an error and of its timeline)``: exceptions are
no part of it, because Ray cannot rebuild each of them.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, MLSrvError, ModelFailed
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.failures import dump_error, load_error
from mlsrv_executor_kit.plain_data import load_plain
from mlsrv_executor_kit.plain_values import dump, dump_value


def pack_call(name: str, values: tuple[Any, ...], context: CallContext) -> bytes:
    """Return the values of a call to the model `name`, with its context.

    The deadline is sent as the seconds that are left: each machine has a monotonic clock of its own.

    Raises:
        InferenceError: a parameter cannot be pickled.
    """
    try:
        return dump((values, serialization.dump_context(context), context.remaining))
    except Exception as error:  # of any kind: parameters may hold any object
        raise InferenceError(f"Model {name}: the request cannot be sent to the cluster: {error}") from error


def unpack_call(body: bytes) -> tuple[tuple[Any, ...], CallContext]:
    """Return the values and the context that `pack_call` packed."""
    values, plain, remaining = pickle.loads(body)
    context = serialization.load_context(plain)
    context.deadline = None if remaining is None else time.monotonic() + remaining
    return values, context


def views_of(arrays: Sequence[npt.NDArray[Any]], *, copy: bool = False) -> list[memoryview]:
    """Return the bytes of arrays. Those of Ray's memory are read-only, unless they are copied."""
    views = [memoryview(array.data).cast("B") for array in arrays]
    return [memoryview(bytearray(view)) for view in views] if copy else views


def dump_phases(context: CallContext, arrived: int) -> tuple[Any, ...] | None:
    """Return the timeline of a call that arrived at this time, or None if no interceptor observes it."""
    spans = serialization.dump_timeline(context)
    return None if spans is None else (spans, arrived, time.monotonic_ns())


def load_phases(plain: tuple[Any, ...] | None, context: CallContext, asked: int) -> None:
    """Add what `dump_phases` returned to the timeline of a call that was sent at this time.

    Each machine has a monotonic clock of its own: the way there is taken to be as long as the way back.
    """
    if plain is None or context.timeline is None:
        return
    (spans, sums), arrived, left = plain
    offset = (asked - arrived + time.monotonic_ns() - left) // 2
    context.timeline.extend([(phase, begin + offset, end + offset) for phase, begin, end in spans], sums)


def failed(error: MLSrvError, context: CallContext | None = None, arrived: int = 0) -> tuple[Any, ...]:
    """Return the answer of a call that failed, and that arrived at this time."""
    phases = None if context is None else dump_phases(context, arrived)
    return False, dump_value((dump_error(error), phases))


def answer_of(
    answer: Sequence[Any], context: CallContext | None = None, asked: int = 0
) -> tuple[Any, list[memoryview]]:
    """Return the plain data of an answer, and the bytes of its arrays. The call was sent at this time.

    Raises:
        MLSrvError: that of the call, or one for an answer that cannot be read.
    """
    try:
        ok, body, *arrays = answer
        plain = load_plain(body)
        if ok:
            return plain, views_of([np.asarray(array) for array in arrays])
        error, phases = plain
        if context is not None:
            load_phases(phases, context, asked)
        found = load_error(error)
    except Exception as error:  # of any kind: the actor decides what it sends
        made = ModelFailed(f"The answer of a replica cannot be read: {error}"[:300])
        made.what, made.raised = "The answer of a replica cannot be read", type(error).__name__
        raise made from error
    raise found
