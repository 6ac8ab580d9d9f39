"""Pieces: goes through long sequences piece by piece.

A function of the interpreter that goes through a whole sequence, such as `set(map(type, values))`, holds the
interpreter's lock until it is done. Between pieces other threads of the process go on, the event loop among
them.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

PIECE: Final = 2**16
"""Elements of one piece, which take a few milliseconds."""


def pieces_of(values: Any) -> Iterator[Any]:
    """Give the parts of a sequence or a flat array, in their order; a short one is given as it is."""
    if len(values) <= PIECE:
        return iter((values,))
    return (values[at : at + PIECE] for at in range(0, len(values), PIECE))


def types_of(values: list[Any]) -> set[type]:
    """Return the types of all elements."""
    return set(chain.from_iterable(set(map(type, piece)) for piece in pieces_of(values)))
