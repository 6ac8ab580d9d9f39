"""JSON pieces: writes long arrays piece by piece, so that other threads of the process go on meanwhile.

The writer of JSON holds the interpreter's lock until it is done.
"""

from typing import Any, Final

import numpy as np
import orjson

from mlsrv_protocol.json_text import dumps

PIECE: Final = 2**16
"""Elements of one piece."""
LISTS: Final = (list, np.ndarray)
"""What is written in pieces: `data` may also be one bare value."""


def write_in_pieces(data: Any) -> orjson.Fragment:
    """Return the JSON text of a list or an array, for `dumps`.

    Raises:
        TypeError: an element has no JSON form; the text names its type.
    """
    pieces = [dumps(data[at : at + PIECE])[1:-1] for at in range(0, len(data), PIECE)]
    return orjson.Fragment(b"[%b]" % b",".join(pieces))
