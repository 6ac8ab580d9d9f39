"""Frames: the format of the connection between the server and a worker.

A frame is a header, a table of its buffers, a payload, and the buffers themselves. The payload is pickled by
the server, which workers trust; from a worker it is plain data (see `mlsrv_executor_kit.plain_data`). Small
tensors are part of the payload. Large ones are buffers: they lie in shared memory, so that only their
locations are sent, or follow in the stream when there is no room for them. Both ends are the same version of
this package, so the format is private and has no version.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from attrs import define

HEADER = struct.Struct("<QQQIB3x")
"""Length of the payload, length of the buffers in the stream, call id, number of buffers, kind."""

BUFFER_LOCATION = struct.Struct("<qQ")
"""Of one buffer: its offset in shared memory, or -1 if it follows in the stream, and its length."""

ALIGNMENT = 16
"""Buffers in the stream begin at multiples of it, so that arrays over them are aligned."""

STREAM_WINDOW = 16
"""Flow control of streams: messages in each direction that may be sent before the receiver has read one."""

CREDIT_INTERVAL = 8
"""Flow control of streams: messages after which the receiver grants the sender as many more."""


class FrameKind(IntEnum):
    """The meaning of a frame. S: sent by the server, W: by a worker."""

    CONFIGURE = 1  # S: plugins, settings and log level; the first frame
    STARTED = 2  # W: the worker accepts loads
    LOAD = 3  # S: load a model
    UNLOAD = 4  # S: unload a model
    INFER = 5  # S: answer a request
    CALL = 6  # S: call a custom handler
    STREAM = 7  # S: answer a stream
    STREAM_INPUT = 8  # S: one more request of a stream, or its end
    STREAM_ITEM = 9  # W: one response of a stream
    STREAM_CREDIT = 10  # both: number of requests or responses of a stream that were read
    CANCEL = 11  # S: the call is cancelled
    RESULT = 12  # W: the call's result
    ERROR = 13  # W: the call's failure
    RELEASE = 14  # both: a block of the receiver's shared memory is free again
    RECORD = 15  # W: values of metrics
    LOG = 16  # W: a log record
    STOP = 17  # S: unload all models and end
    PING = 18  # S: the worker's event loop must answer
    PONG = 19  # W: the answer to a ping
    METRICS = 20  # S: return the metrics that code made with `prometheus_client` alone
    SHORT = 21  # W: the calls of a model have moved to the event loop, or back
    ASK = 22  # W: code that answers the call has a question to another model, or gives one up
    ANSWER = 23  # S: the answer to the question whose number is the call id
    INFER_ENCODED = 24  # S: answer a request that comes as its JSON


FRAME_KINDS = {int(kind): kind for kind in FrameKind}
"""Kinds by number; a look-up here takes a fifth of the time of ``FrameKind(number)``."""


@define
class Frame:
    """A received frame.

    Attributes:
        kind: its meaning.
        call: id of the call that it belongs to.
        body: the payload as bytes.
        buffers: writable views over memory of the frame, or over shared memory.
    """

    kind: FrameKind
    call: int
    body: bytes | bytearray
    buffers: list[memoryview]

    def plain(self) -> Any:
        """Return the payload of a worker's frame.

        Raises:
            NotPlain: it is no plain data.
        """
        # Not before: `boot` reports with this module that packages are missing.
        from mlsrv_executor_kit.plain_data import load_plain

        return load_plain(self.body)

    def unpickled(self) -> Any:
        """Return the payload of the server's frame; only workers may call it.

        Raises:
            Exception: the errors of unpickling, since a payload may name classes that are missing here.
        """
        return pickle.loads(self.body)


def pack_header(
    kind: FrameKind, call: int, body: bytes, locations: Sequence[tuple[int, int]], inline: int
) -> bytes:
    """Return the bytes of a frame before its buffers; `inline` is the length of those in the stream."""
    first = HEADER.pack(len(body), inline, call, len(locations), kind)
    if not locations:
        return first + body
    return b"".join((first, *(BUFFER_LOCATION.pack(*location) for location in locations), body))


def padding(length: int) -> int:
    """Return the number of bytes after a buffer of this length in the stream that align the next one."""
    return -length % ALIGNMENT
