"""Long numbers: cuts long flat arrays of numbers out of a JSON text, and parses them chunk by chunk.

The parser holds the interpreter's lock until it is done: for hundreds of megabytes that is longer than other
threads, which answer health checks, should wait.
"""

import secrets
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import simdjson

from mlsrv_protocol.json_size import count_byte

LONG = 2**26
"""Bytes between two brackets from which an array is cut out; to parse fewer at once takes a fifth of a second
at most, and half the processor time."""

_CHUNK = 2**22
_PIECE = 2**18
_QUOTE, _OPEN, _CLOSE, _CURLY = b'"[]{'


class LongNumbers:
    """A JSON text, and what was cut out of it.

    Args:
        text: JSON text.

    Attributes:
        text: the same, but each long flat array has a mark in place of its elements.
    """

    def __init__(self, text: bytes) -> None:
        self._cut: dict[int, memoryview] = {}
        self.text = text
        spans = _long_spans(text)
        if not spans:
            return
        view, at = memoryview(text), 0
        pieces: list[bytes | memoryview] = []
        for start, end in spans:
            mark = 2**52 + secrets.randbits(51)
            self._cut[mark] = view[start:end]
            pieces += [view[at:start], str(mark).encode()]
            at = end
        self.text = b"".join([*pieces, view[at:]])

    @property
    def unparsed(self) -> int:
        """The number of arrays that were cut out and have not been parsed."""
        return len(self._cut)

    def parse(
        self, parser: simdjson.Parser, data: simdjson.Array, of_type: Literal["d", "i", "u"], dtype: Any
    ) -> npt.NDArray[Any] | None:
        """Return the elements of an array of `text` if they were cut out, else None.

        Args:
            parser: not the one that has parsed `text`.
            data: the array.
            of_type, dtype: of the elements.

        Raises:
            ValueError, TypeError: they are no numbers of that type.
        """
        mark: Any = data[0] if len(data) == 1 else None
        text = self._cut.pop(mark, None) if type(mark) is int else None
        if text is None:
            return None
        found = np.empty(1 + count_byte(text, b","), dtype)
        filled = 0
        for start, end in _chunks(text):
            chunk: Any = parser.parse(b"[%b]" % bytes(text[start:end]))
            buffer = memoryview(chunk.as_buffer(of_type=of_type))
            elements = np.frombuffer(buffer, dtype) if buffer.nbytes else found[:0]
            del chunk  # the parser is free again
            found[filled : filled + len(elements)] = elements
            filled += len(elements)
        if filled != len(found):
            raise ValueError("an element is missing")
        return found


def _long_spans(text: bytes) -> list[tuple[int, int]]:
    """Return the places of long stretches between brackets, outside strings and without any inside."""
    if len(text) < LONG or b"\\" in text:  # which may make quotation marks parts of strings
        return []
    octets = np.frombuffer(text, np.uint8)
    quotes, before, kind = 0, -1, 0
    spans = []
    for start in range(0, len(octets), _PIECE):
        piece = octets[start : start + _PIECE]
        lower = piece | 0x20
        places = np.flatnonzero((piece == _QUOTE) | (lower == _CURLY) | (lower == _CURLY + 2))
        if not places.size:
            continue
        first = start + int(places[0])
        if kind == _OPEN and octets[first] == _CLOSE and first - before > LONG and quotes % 2 == 0:
            spans.append((before + 1, first))
        quotes += int(np.count_nonzero(piece == _QUOTE))
        before = start + int(places[-1])
        kind = int(octets[before])
    return spans


def _chunks(text: memoryview) -> list[tuple[int, int]]:
    """Return the places of chunks of a text that is cut at commas."""
    found, start = [], 0
    while len(text) - start > _CHUNK:
        tail = bytes(text[start + _CHUNK - 2**12 : start + _CHUNK])
        at = tail.rfind(b",")
        if at < 0:
            raise ValueError("an element is too long")
        end = start + _CHUNK - 2**12 + at
        found.append((start, end))
        start = end + 1
    return [*found, (start, len(text))]
