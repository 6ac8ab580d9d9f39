"""JSON pieces: writes long arrays piece by piece, so that other threads of the process go on meanwhile.

The writer of JSON holds the interpreter's lock until it is done. Each piece goes to its place in the text of
the message at once: a copy of a long text costs as much as writing a good part of it.
"""

import io
from typing import Any, Final

import numpy as np
import orjson

from mlsrv_protocol.json_text import dumps
from mlsrv_protocol.pieces import PIECE, pieces_of

LISTS: Final = (list, np.ndarray)
"""What is written in pieces: `data` may also be one bare value."""

_MARK: Final = b"\0"  # no text of JSON has this byte


def dump_in_pieces(plain: dict[str, Any], group: str) -> bytes:
    """Write the plain data of a message as JSON text, long `data` of its tensors in pieces.

    Args:
        plain: as for `dumps`; long `data` in it is replaced.
        group: the key of the tensors.

    Raises:
        TypeError: a value has no JSON form; the text names its type.
    """
    written = []
    for tensor in plain[group]:
        data = tensor.get("data")
        if isinstance(data, LISTS) and len(data) > PIECE:
            written.append(data)
            tensor["data"] = orjson.Fragment(_MARK)
    text = dumps(plain)
    first, *others = text.split(_MARK)
    file = io.BytesIO()  # what it gives in the end is no copy
    file.write(first)
    for data, other in zip(written, others, strict=True):
        for at, piece in enumerate(pieces_of(data)):
            file.write(b"," if at else b"[")
            file.write(memoryview(dumps(piece))[1:-1])
        file.write(b"]")
        file.write(other)
    return file.getvalue()
