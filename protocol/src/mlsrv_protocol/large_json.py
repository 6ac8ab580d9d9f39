"""Large JSON: parses numeric `data` of large messages straight into numpy arrays, with simdjson.

It parses the common case. For anything else (a null, a string, ragged nesting, a repeated key, a syntax
error, …) it returns None, and the general parser in `mlsrv_protocol.json_text` decides.

Two things about pysimdjson shape the code. `as_list` and `as_dict` must not be used: they trust a length that
saturates at 2**24 - 1 and write past the end of longer arrays. And looking up a key scans the object, so
objects with many keys are left alone.
"""

from typing import Any, Literal

import numpy as np
import orjson
import simdjson

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.json_chunks import load_in_chunks
from mlsrv_protocol.json_size import count_byte
from mlsrv_protocol.long_numbers import LongNumbers
from mlsrv_protocol.pieces import PIECE, types_of

_KINDS: dict[Any, tuple[Literal["d", "i", "u"], type[np.generic]]] = {
    datatype.value: ("d", np.float64)
    if datatype.is_float
    else ("u", np.uint64)
    if datatype is Datatype.UINT64
    else ("i", np.int64)
    for datatype in Datatype
    if datatype.is_float or datatype.is_integer
}
NESTED = "data is nested"
"""Key of a tensor, beside those that it was sent with, whose `data` was nested and is flat now."""

_BYTES_PER_TENSOR = 1024
_MAX_KEYS = 16
_MAX_NESTING = 32
_SATURATED = 2**24 - 1
_KEEP = 16 * 2**20

_spare: list[simdjson.Parser] = []
"""At most one parser, kept because its buffers are costly to map anew. It is taken out while in use."""


_REFUSALS = (ValueError, TypeError, RuntimeError, LookupError)
"""What simdjson raises for text, types, numbers, depths and keys that it cannot take."""


class _FallBack(ValueError):
    """The message needs the general parser."""


def load_arrays(body: bytes, key: str, brackets: int | None = None) -> dict[str, Any] | None:
    """Parse a message into plain data, numeric `data` as flat arrays of float64, int64 or uint64; return None
    when it needs the general parser. A tensor whose data was nested has the key `NESTED`.

    Args:
        body: JSON text.
        key: of the tensors, `inputs` or `outputs`.
        brackets: how many opening brackets ``[`` the text has, if that is known.
    """
    if body.startswith(b"\xef\xbb\xbf"):  # simdjson would skip a byte order mark
        return None
    try:
        parser = _spare.pop()
    except IndexError:
        parser = simdjson.Parser()
    long = LongNumbers(body)
    try:
        message = _load(parser, body, key, brackets, long)
    except _REFUSALS:
        if long.text is body:
            return None
        return _load_whole(body, key, brackets)
    if len(body) <= _KEEP and not _spare:
        _spare.append(parser)
    return message


def _load_whole(body: bytes, key: str, brackets: int | None) -> dict[str, Any] | None:
    """Parse a message at once whose long arrays are no flat `data`."""
    try:
        return _load(simdjson.Parser(), body, key, brackets, None)
    except _REFUSALS:
        return None


def _load(
    parser: simdjson.Parser, body: bytes, key: str, brackets: int | None, long: LongNumbers | None
) -> dict[str, Any]:
    message = _fields(parser.parse(body if long is None else long.text))
    tensors = message.pop(key, None)
    if not isinstance(tensors, simdjson.Array) or len(tensors) * _BYTES_PER_TENSOR > len(body):
        raise _FallBack
    found = [_fields(tensor) for tensor in tensors]
    if not any(tensor.get("datatype") in _KINDS for tensor in found):
        raise _FallBack
    arrays = 1 + _unwrap(message)
    for tensor in found:
        data, kind = tensor.get("data"), _KINDS.get(tensor.get("datatype"))
        if kind is not None and isinstance(data, simdjson.Array):
            found_arrays = _count_arrays(data)
            arrays += found_arrays
            if found_arrays > 1:
                tensor[NESTED] = True
            tensor["data"] = _numbers(data, long, *kind)
        arrays += _unwrap(tensor)
    # as_buffer flattens arrays of any nesting. Each array that was counted has one bracket in the text, so an
    # equal number of brackets means that no array was overlooked (a bracket in a string only adds to them).
    if (count_byte(body, b"[") if brackets is None else brackets) != arrays:
        raise _FallBack
    if long is not None and long.unparsed:  # in another place than the data of a tensor
        raise _FallBack
    message[key] = found
    return message


def _numbers(
    data: simdjson.Array, long: LongNumbers | None, of_type: Literal["d", "i", "u"], dtype: type[np.generic]
) -> np.ndarray[Any, Any]:
    if long is not None and long.unparsed:
        found = long.parse(simdjson.Parser(), data, of_type, dtype)
        if found is not None:
            return found
    buffer = memoryview(data.as_buffer(of_type=of_type))
    return np.frombuffer(buffer, dtype) if buffer.nbytes else np.empty(0, dtype)


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of an object; objects and arrays among the values are still simdjson's."""
    if not isinstance(value, simdjson.Object) or len(value) > _MAX_KEYS:
        raise _FallBack
    fields = {name: value[name] for name in value}
    if len(fields) != len(value):  # a repeated key
        raise _FallBack
    return fields


def _unwrap(fields: dict[str, Any]) -> int:
    """Turn simdjson's objects and arrays into plain data; return the number of arrays."""
    arrays = 0
    for name, value in fields.items():
        if isinstance(value, simdjson.Object | simdjson.Array):
            mini: Any = value.mini  # bytes, though it is said to be a text
            fields[name] = load_in_chunks(mini, orjson.loads)
            arrays += _count_lists(fields[name])
    return arrays


def _count_lists(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_count_lists, value.values()))
    if not isinstance(value, list):
        return 0
    # Most lists hold plain values, and may be long.
    types = set(map(type, value)) if len(value) <= PIECE else types_of(value)
    return 1 + (sum(map(_count_lists, value)) if {list, dict} & types else 0)


def _count_arrays(data: simdjson.Array) -> int:
    """Return the number of arrays in a rectangular one, itself included, if its innermost ones are flat."""
    lengths = []
    inner: Any = data
    while isinstance(inner, simdjson.Array):
        lengths.append(len(inner))
        inner = inner[0] if lengths[-1] else None
    if len(lengths) == 1:
        return 1
    if len(lengths) > _MAX_NESTING or _SATURATED in lengths:
        raise _FallBack
    return 1 + _count_rows(data, lengths[1:])


def _count_rows(data: simdjson.Array, lengths: list[int]) -> int:
    length, *deeper = lengths
    rows = 0
    for row in data:
        if type(row) is not simdjson.Array or len(row) != length:
            raise _FallBack
        rows += 1
        if deeper:
            rows += _count_rows(row, deeper)
    return rows
