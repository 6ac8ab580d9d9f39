"""Records: headers in the form of the client library, and records that are to be written."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TypeAlias

from attrs import Factory, define

RawHeader: TypeAlias = tuple[str, bytes | None]
RawHeaders: TypeAlias = list[RawHeader]
"""Headers in the form in which the client library gives and takes them."""


@define(eq=False)
class Outgoing:
    """A record that is to be written.

    Attributes:
        topic, key, value, headers: of the record.
        delivered: called once a broker has confirmed it; must not raise.
        refused: called with the reason if it can never be written; must not raise.
        timestamp: milliseconds since the epoch; 0 for now.
        given: `time.monotonic` seconds at which it was made.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: RawHeaders
    delivered: Callable[[], None]
    refused: Callable[[str], None]
    timestamp: int = 0
    given: float = Factory(monotonic)
