"""JSON chunks: parses long texts chunk by chunk, so that other threads of the process go on meanwhile.

The parser holds the interpreter's lock until it is done. A text is cut at commas, wherever they are. What is
open at a cut is closed at the end of one chunk and opened again at the start of the next one, so that each
chunk is a text of JSON by itself; what becomes of the parts of one array or object is put together.
"""

import gc
import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

CHUNK: Final = 2**18
"""Bytes of a chunk, about, which take a few milliseconds."""

_QUOTE, _COMMA, _CURLY = b'",{'
_TAIL: Final = 2**12
"""Bytes at the end of a stretch in which its last comma usually is."""

_Octets: TypeAlias = npt.NDArray[np.uint8]


def load_in_chunks(text: bytes, parse: Callable[[bytes], Any]) -> Any:
    """Return what `parse(text)` returns, but parse a long text chunk by chunk.

    Raises:
        orjson.JSONDecodeError: the text is no JSON; the place is that in the whole text.
        Exception: what `parse` raises.
    """
    if len(text) <= CHUNK:
        return parse(text)
    if not gc.isenabled():
        return _load(text, parse)
    # Each array that is made may start a collection, which visits all that were made before, and every thread
    # waits for the parser meanwhile.
    gc.disable()
    try:
        return _load(text, parse)
    finally:
        gc.enable()


def _load(text: bytes, parse: Callable[[bytes], Any]) -> Any:
    merging, start, opened = _Merging(), 0, b""
    for end, still_open in (*_cuts(text), (len(text), b"")):
        prefix, suffix = merging.reopened(opened), merging.closed(still_open)
        chunk = text[start:end]
        if prefix and chunk.lstrip()[:1] in b"]}":
            raise _error("unexpected character", text, start)
        try:
            value = parse(b"%b%b%b" % (prefix, chunk, suffix))
        except orjson.JSONDecodeError as error:
            at = len(error.doc[: error.pos].encode("utf-8", "surrogatepass")) - len(prefix)
            raise _error(error.msg, text, start + min(max(at, 0), len(chunk))) from None
        merging.add(value, len(still_open))
        start, opened = end + 1, still_open
    return merging.result


class _Merging:
    """Puts the values of chunks together.

    Attributes:
        result: the value of the chunks so far.
    """

    def __init__(self) -> None:
        self.result: Any = None
        # No text has these keys and strings but by chance.
        self._first, self._last = secrets.token_hex(16), secrets.token_hex(16)
        self._open: list[Any] = []

    def reopened(self, opened: bytes) -> bytes:
        """Return the text before a chunk; the bracket of each array and object that is open at its start."""
        key = f'{{"{self._first}":'.encode()
        return opened[:-1].replace(b"{", key) + opened[-1:]

    def closed(self, opened: bytes) -> bytes:
        """Return the text after a chunk, which marks each array and object that is open at its end."""
        mark = f'"{self._last}"'.encode()
        ends = {ord("["): b",%b]" % mark, ord("{"): b",%b:0}" % mark}
        return b"".join(ends[octet] for octet in reversed(opened))

    def add(self, value: Any, depth: int) -> None:
        """Add the value of the next chunk, at whose end so many arrays and objects are open."""
        starts = self._starts(value)
        ends = self._ends(value, depth)
        for part, whole in zip(starts, self._open, strict=True):
            if part is not starts[-1]:
                del part[0 if type(part) is list else self._first]
            if type(whole) is list:
                whole.extend(part)
            else:
                whole.update(part)
        wholes = {id(part): whole for part, whole in zip(starts, self._open, strict=True)}
        if not self._open:
            self.result = value
        self._open = [wholes.get(id(part), part) for part in ends]

    def _starts(self, value: Any) -> list[Any]:
        """Return the rest of each array and object that was open."""
        found = [value] if self._open else []
        while len(found) < len(self._open):
            found.append(found[-1][0 if type(found[-1]) is list else self._first])
        return found

    def _ends(self, value: Any, depth: int) -> list[Any]:
        """Return the arrays and objects that are open at the end, and take the marks out of them."""
        found: list[Any] = []
        while len(found) < depth:
            if type(value) is list:
                value.pop()
            else:
                del value[self._last]
            found.append(value)
            if len(found) < depth:
                value = value[-1] if type(value) is list else next(filter(self._is_marked, value.values()))
        return found

    def _is_marked(self, value: Any) -> bool:
        if type(value) is list:
            return bool(value) and value[-1] == self._last
        return type(value) is dict and self._last in value


def _cuts(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the places of commas outside strings, at most one in each stretch of `CHUNK` bytes, and the
    brackets that are open there."""
    opened, inside, escaped = b"", False, False
    for at in range(0, len(text), CHUNK):
        window = text[at : at + CHUNK]
        if escaped:
            window = b" " + window[1:]
        escaped = (len(window) - len(window.rstrip(b"\\"))) % 2 == 1
        if b"\\" in window:
            window = window.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
        octets = np.frombuffer(window, np.uint8)
        # Odd inside strings; that it overflows does no harm.
        quotes = np.cumsum(octets == _QUOTE, dtype=np.uint8) + np.uint8(inside)
        brackets = np.flatnonzero(((octets | 0x20) == _CURLY) | ((octets | 0x20) == _CURLY + 2))
        brackets = brackets[quotes[brackets] & 1 == 0]
        comma = _last_comma(octets, quotes)
        if comma is not None:
            there = _opened(opened, octets[brackets[brackets < comma]])
            if there:
                yield at + comma, there
        opened = _opened(opened, octets[brackets])
        inside = bool(quotes[-1] & 1)


def _last_comma(octets: _Octets, quotes: _Octets) -> int | None:
    for start in (max(0, len(octets) - _TAIL), 0):
        commas = np.flatnonzero((octets[start:] == _COMMA) & (quotes[start:] & 1 == 0))
        if commas.size:
            return start + int(commas[-1])
    return None


def _opened(before: bytes, brackets: _Octets) -> bytes:
    """Return the brackets that are open after further ones, in their order."""
    if not brackets.size:
        return before
    steps = np.where(brackets & 2, 1, -1)  # of [ ] { } the opening ones have this bit
    depths = np.cumsum(steps)
    lowest_after = np.minimum.accumulate(depths[::-1])[::-1]
    closed = max(0, -int(depths.min()))
    stay = brackets[(steps > 0) & (lowest_after >= depths)]
    return before[: max(0, len(before) - closed)] + stay.tobytes()


def _error(problem: str, text: bytes, at: int) -> orjson.JSONDecodeError:
    before = text[:at].decode("utf-8", "replace")
    return orjson.JSONDecodeError(problem, before, len(before))
