"""Slots: the kinds of capacity that a worker has for requests."""

from __future__ import annotations

from enum import IntEnum


class Slot(IntEnum):
    """The kind of capacity that a request takes; the value is an index into counters and limits.

    Requests to a synchronous model take `SHORT` while its calls run on the event loops of the workers.
    """

    SYNCHRONOUS = 0
    ASYNCHRONOUS = 1
    SHORT = 2
