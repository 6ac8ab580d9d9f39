"""The frames of a connection between the server and a worker.

A frame is a header, a pickled payload of plain Python values, and buffers. Buffers below a threshold follow in the
stream; larger ones lie in the arena and only their place is told. Both ends are the same version of this package, so
the format is private and has no version.
"""

from __future__ import annotations

import pickle
import struct
from enum import IntEnum
from typing import Any

from attrs import define

HEADER = struct.Struct("<IIQB7x")
"""Length of the pickled part, length of the buffers in the stream, call id, kind."""

ARENA_THRESHOLD = 64 * 1024
"""Bytes from which on a buffer goes through the arena."""


class Kind(IntEnum):
    """What a frame means. S: sent by the server, W: by a worker."""

    CONFIGURE = 1  # S: what the worker needs to know; the first frame
    STARTED = 2  # W: it is ready for loads
    LOAD = 3  # S: load a model
    UNLOAD = 4  # S: unload it
    INFER = 5  # S: answer a request
    CALL = 6  # S: call a custom handler
    STREAM = 7  # S: answer a stream
    STREAM_INPUT = 8  # S: one more request of a stream, or its end
    STREAM_ITEM = 9  # W: one response of a stream
    STREAM_CREDIT = 10  # S: the consumer took so many responses
    CANCEL = 11  # S: nobody waits for the call any more
    RESULT = 12  # W: the call's result
    ERROR = 13  # W: the call's failure
    RELEASE = 14  # both: a block of the other's arena is free again
    RECORD = 15  # W: values of metrics
    LOG = 16  # W: a log record
    STOP = 17  # S: unload everything and end


@define
class Frame:
    """A received frame. `buffers` are views: over memory that belongs to the frame, or over the arena."""

    kind: Kind
    call: int
    payload: Any
    buffers: list[memoryview]


def pack(kind: Kind, call: int, payload: Any, places: list[tuple[int, int]], inline: int) -> bytes:
    """Header and pickled part. `places` are (offset in the arena or -1, length) for each buffer."""
    body = pickle.dumps((payload, places), protocol=5)
    return HEADER.pack(len(body), inline, call, kind) + body
