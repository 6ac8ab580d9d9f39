"""Parameters over gRPC: `map<string, InferParameter>` to `Parameters` and back."""

import logging
from dataclasses import is_dataclass
from enum import Enum
from struct import Struct
from typing import Any, TypeAlias

import numpy as np

from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.grpc.wire_format import fields, len_field, signed, text, utf8, varint
from mlsrv_protocol.json_text import dumps
from mlsrv_protocol.parameters import Parameters
from mlsrv_protocol.quoting import clip

logger = logging.getLogger("mlsrv.grpc")

Value: TypeAlias = bool | int | float | str

_DOUBLE = Struct("<d")
_KEY, _VALUE = 0x0A, 0x12
_BOOL, _INT64, _STRING, _FLOAT, _UINT64 = 0x08, 0x10, 0x1A, 0x21, 0x28


def decode_entry(body: bytes, start: int, stop: int) -> tuple[str, Value]:
    """Decode one entry of the map; return its key and its value.

    Raises:
        InvalidPayload: the entry has no value.
    """
    key = ""
    value: Value | None = None
    for tag, a, b in fields(body, start, stop):
        if tag == _KEY:
            key = text(body, a, b)
        elif tag == _VALUE:
            value = _decode_value(body, a, b)
    if value is None:
        raise InvalidPayload(f"parameters.{key} has no value.")
    return key, value


def to_parameters(values: dict[str, Value]) -> Parameters | None:
    """Return the parameters of the decoded entries; None when there are none."""
    return Parameters(**values) if values else None  # type: ignore[arg-type]  # what two of them hold is checked there


def encode_parameters(parameters: Parameters, tag: int) -> bytes:
    """Encode parameters as the entries of a map in field `tag`.

    Headers are left out: gRPC sends them as metadata. Arrays and objects (dataclasses too) become JSON
    texts. Other values that
    InferParameter has no field for (integers of more than 64 bits) are left out with a line in the debug log.
    """
    found = b""
    if parameters.content_type is not None:
        found = encode_entry(tag, "content_type", parameters.content_type)
    for key, value in parameters.extra.items():
        if value is not None:
            found += encode_entry(tag, key, value)
    return found


def encode_entry(tag: int, key: str, value: Any) -> bytes:
    """Encode one entry of a map in field `tag`; return no bytes for a value that InferParameter has no field
    for."""
    kind = _encode_value(value)
    if kind is None:
        logger.debug("The parameter %s was left out: gRPC cannot carry %s", clip(key), clip(value))
        return b""
    return len_field(tag, len_field(_KEY, utf8(key)) + len_field(_VALUE, kind))


def _decode_value(body: bytes, start: int, stop: int) -> Value | None:
    value: Value | None = None
    for tag, a, b in fields(body, start, stop):
        if tag == _STRING:
            value = text(body, a, b)
        elif tag == _INT64:
            value = signed(a)
        elif tag == _BOOL:
            value = a != 0
        elif tag == _FLOAT:
            value = _DOUBLE.unpack_from(body, a)[0]
        elif tag == _UINT64:
            value = a
    return value


def _encode_value(value: Any) -> bytes | None:
    if isinstance(value, Enum):
        value = value.value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a scalar of numpy, or of its kin
        value = value.item()
    if isinstance(value, str):
        return len_field(_STRING, utf8(value))
    if isinstance(value, bool):
        return b"\x08\x01" if value else b"\x08\x00"
    if isinstance(value, float):
        return b"\x21" + _DOUBLE.pack(value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return b"\x10" + varint(value & 2**64 - 1)
    if isinstance(value, int) and 0 <= value < 2**64:
        return b"\x28" + varint(value)
    if isinstance(value, list | tuple | dict | np.ndarray) or is_dataclass(value):
        try:
            return len_field(_STRING, dumps(value))
        except TypeError:  # a value inside has no JSON form
            return None
    return None
