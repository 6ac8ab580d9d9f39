"""Model files: facts of a graph that ONNX Runtime does not report.

Sources: onnx.proto, ModelProto and below; "Encoding", protobuf.dev. Of a file that is not in ONNX's own form,
such as ``.ort``, nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from attrs import field, frozen

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_Span = tuple[int, int]


@frozen
class FileFacts:
    """The facts of one model file.

    Attributes:
        ranked: the inputs that have a number of dimensions. ONNX Runtime reports an empty shape for others,
            as it does for scalars.
        class_labels: by output of a ``ZipMap``, the labels of the classes in the order of the scores.
    """

    ranked: frozenset[str] = frozenset()
    class_labels: dict[str, list[str]] = field(factory=dict)


def read_facts(path: Path) -> FileFacts:
    """Return the facts of a model file that ONNX Runtime has read."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        try:
            return _facts(content)
        except (IndexError, ValueError):
            return FileFacts()


def _facts(body: Any) -> FileFacts:
    ranked: set[str] = set()
    labels: dict[str, list[str]] = {}
    for graph in _inside(body, (0, len(body)), 7):
        for tag, start, stop in _fields(body, *graph):
            if tag == _tag(11) and (name := _ranked_input(body, (start, stop))):
                ranked.add(name)
            elif tag == _tag(1):
                labels |= _zip_map(body, (start, stop))
    return FileFacts(frozenset(ranked), labels)


def _ranked_input(body: Any, value: _Span) -> str:
    """Return the name of a ValueInfoProto whose type is a tensor with a shape, else an empty text."""
    for kind in _inside(body, value, 2):
        for tensor in _inside(body, kind, 1):
            for _ in _inside(body, tensor, 2):
                return _text(body, value, 1)
    return ""


def _zip_map(body: Any, node: _Span) -> dict[str, list[str]]:
    if _text(body, node, 4) != "ZipMap":
        return {}
    labels: list[str] = []
    for attribute in _inside(body, node, 5):
        name = _text(body, attribute, 1)
        if name == "classlabels_strings":
            labels += [body[start:stop].decode() for start, stop in _inside(body, attribute, 9)]
        elif name == "classlabels_int64s":
            labels += map(str, _integers(body, attribute, 8))
    return {_text(body, node, 2): labels} if labels else {}


def _integers(body: Any, span: _Span, number: int) -> Iterator[int]:
    """Yield the elements of a repeated int64 field, packed or not."""
    for tag, a, b in _fields(body, *span):
        if tag == number * 8:
            yield _signed(a)
        elif tag == _tag(number):
            while a < b:
                value, a = _varint(body, a)
                yield _signed(value)


def _text(body: Any, span: _Span, number: int) -> str:
    for start, stop in _inside(body, span, number):
        return str(body[start:stop].decode())
    return ""


def _inside(body: Any, span: _Span, number: int) -> Iterator[_Span]:
    wanted = _tag(number)
    for tag, start, stop in _fields(body, *span):
        if tag == wanted:
            yield start, stop


def _tag(number: int) -> int:
    return number * 8 + _LENGTH


def _fields(body: Any, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the fields of the message in `body[at:end]` as (tag, a, b).

    Of a varint, `a` is the value; of any other field `body[a:b]` is the content.

    Raises:
        ValueError, IndexError: the bytes are no message.
    """
    while at < end:
        tag, at = _varint(body, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(body, at)
            yield tag, value, 0
            continue
        if kind == _LENGTH:
            size, at = _varint(body, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError("a field has an unknown wire type")
        if at + size > end:
            raise ValueError("a field is cut off")
        yield tag, at, at + size
        at += size


def _varint(body: Any, at: int) -> tuple[int, int]:
    """Return the unsigned integer at `at`, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("an integer has more than 64 bits")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
