"""Packed texts: long lists of `str` and `bytes`, pickled piece by piece.

Pickling such a list as part of another value takes a second for three million elements, most of it to
remember each of them, and holds the interpreter's lock all the time. A piece takes milliseconds.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

from mlsrv_executor_kit.plain_data import NotPlain, load_plain

PACKED: Final = ("texts", (0,))
"""In place of the type of an array: the data is what `pack_texts` returned."""

LONG: Final = 2**12
"""Elements from which a list is packed."""
_PIECE: Final = 2**16
_TYPES: Final = {str, bytes}


def pack_texts(texts: list[Any]) -> list[bytes] | None:
    """Return a long list of `str` and `bytes` in packed form; None if it is short or holds anything else."""
    if len(texts) < LONG:
        return None
    packed = []
    for at in range(0, len(texts), _PIECE):
        piece = texts[at : at + _PIECE]
        if not set(map(type, piece)) <= _TYPES:
            return None
        packed.append(_dump(piece))
    return packed


def unpack_texts(packed: list[bytes]) -> list[str | bytes]:
    """Return the list that `pack_texts` packed.

    Raises:
        NotPlain: a piece is no list of plain data; a worker may send anything.
    """
    texts: list[str | bytes] = []
    for piece in packed:
        found = load_plain(piece)
        if type(found) is not list:
            raise NotPlain("a piece of texts is no list")
        texts += found
    return texts


def _dump(piece: list[str | bytes]) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=5)
    pickler.fast = True  # remembers nothing: the elements refer to nothing
    pickler.dump(piece)
    return file.getvalue()
