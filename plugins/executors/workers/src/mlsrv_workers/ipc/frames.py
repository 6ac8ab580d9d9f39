"""The frames of a connection between the server and a worker.

A frame is a header, a table of its buffers, a pickled payload of plain Python values, and the buffers
themselves. Small tensors are part of the payload; the buffers are large ones, which lie in the arena, so that
only their places are told, or follow in the stream when there is no room for them. Both ends are the same
version of this package, so the format is private and has no version.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from attrs import define

HEADER = struct.Struct("<QQQIB3x")
"""Length of the pickled part, length of the buffers in the stream, call id, number of buffers, kind."""

PLACE = struct.Struct("<qQ")
"""Of one buffer: its offset in the arena, or -1 if it follows in the stream, and its length."""

ALIGNMENT = 16
"""Buffers in the stream begin at multiples of it, so that arrays over them are aligned."""

ARENA_THRESHOLD = 64 * 1024
"""Bytes from which on a tensor is a buffer of its own, which goes through the arena."""

STREAM_WINDOW = 16
"""Messages of a stream that may be on their way, in each direction, before the other end takes one."""

STREAM_CREDIT = 8
"""After how many messages the sender is told that they were taken."""


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
    STREAM_CREDIT = 10  # both: so many requests or responses of a stream were taken
    CANCEL = 11  # S: nobody waits for the call any more
    RESULT = 12  # W: the call's result
    ERROR = 13  # W: the call's failure
    RELEASE = 14  # both: a block of the other's arena is free again
    RECORD = 15  # W: values of metrics
    LOG = 16  # W: a log record
    STOP = 17  # S: unload everything and end


KINDS = {int(kind): kind for kind in Kind}
"""By number; to look one up here takes a fifth of the time of ``Kind(number)``."""


@define
class Frame:
    """A received frame.

    Attributes:
        body: the pickled payload.
        buffers: views over memory that belongs to the frame, or over the arena; writable.
    """

    kind: Kind
    call: int
    body: bytes | bytearray
    buffers: list[memoryview]

    def payload(self) -> Any:
        """What was sent. Raises whatever unpickling raises: a payload may name classes that are missing
        here."""
        return pickle.loads(self.body)


def dump(payload: Any) -> bytes:
    """The pickled part of a frame. Raises whatever pickling raises, so it comes before anything is
    reserved."""
    return pickle.dumps(payload, protocol=5)


def head(kind: Kind, call: int, body: bytes, places: Sequence[tuple[int, int]], inline: int) -> bytes:
    """Everything before the buffers; `inline` is the length of those that follow in the stream."""
    first = HEADER.pack(len(body), inline, call, len(places), kind)
    if not places:
        return first + body
    return b"".join((first, *(PLACE.pack(*place) for place in places), body))


def padding(length: int) -> int:
    """How many bytes follow a buffer of this length in the stream, so that the next one is aligned."""
    return -length % ALIGNMENT
