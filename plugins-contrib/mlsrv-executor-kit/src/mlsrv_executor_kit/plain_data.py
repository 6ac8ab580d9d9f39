"""Plain data: what a worker sends to the server, as bytes that cannot name code.

A worker runs code that the server need not trust, so the server never unpickles what a worker made.
`load_plain` reads built-in values and values of a closed list of classes, which is in `plain_makers`.
Whatever else the bytes name is refused before anything is imported or called. The bytes have the format of
pickle, whose reader is the fastest one that Python has.
"""

from __future__ import annotations

import io
import pickle
from types import FunctionType
from typing import Any

from mlsrv_executor_kit import plain_makers
from mlsrv_executor_kit.plain_makers import MAKERS, NotPlain, StandIn, arguments_of

__all__ = [
    "NotPlain",
    "StandIn",
    "dump_plain",
    "load_plain",
]


def dump_plain(payload: Any) -> bytes:
    """Return plain data as bytes for `load_plain`.

    Raises:
        NotPlain: it holds a value of a class that is not in the closed list.
        Exception: the errors of pickling, such as `RecursionError`.
    """
    file = io.BytesIO()
    _Writer(file, protocol=5).dump(payload)
    return file.getvalue()


def load_plain(body: bytes | bytearray) -> Any:
    """Return the data that `dump_plain` wrote.

    Any bytes may be given: they can make plain data only, though as much of it as there is memory for.

    Raises:
        NotPlain: the bytes are no plain data.
    """
    try:
        return _Reader(io.BytesIO(body)).load()
    except NotPlain:
        raise
    except Exception as error:  # of any kind: the bytes decide what fails
        raise NotPlain(f"bytes are no plain data: {type(error).__name__}: {error}") from error


class _Writer(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        """Take a value apart. The pickler asks for values only whose types it does not know itself."""
        if type(value) is FunctionType and MAKERS.get(value.__name__) is value:
            return NotImplemented  # by its name
        return arguments_of(value)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a function of the closed list, wrapped so that nothing of it can be set."""
        made = _SEALED.get(name) if module == plain_makers.__name__ else None
        if made is None:
            raise NotPlain(f"{module}.{name} is not in the list of what a worker may send"[:200])
        return made


class _Sealed:
    __slots__ = ("_make",)

    _make: Any

    def __init__(self, make: Any) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise NotPlain("a function of the list cannot be changed")


_SEALED = {name: _Sealed(make) for name, make in MAKERS.items()}
