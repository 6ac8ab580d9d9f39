"""Lists: tests and conversions of lists of one type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["ListElement", "as_list", "is_list_of"]

ListElement = bytes | str


def is_list_of(payload: Any, instance_type: type) -> bool:
    """Return whether a value is a list whose items are of a type."""
    return isinstance(payload, list) and all(isinstance(item, instance_type) for item in payload)


def as_list(payload: Any) -> Iterable[Any]:
    """Return a text or bytes as a list of one, anything else as it is."""
    if isinstance(payload, str | bytes) or not isinstance(payload, Iterable):
        return [payload]
    return payload
