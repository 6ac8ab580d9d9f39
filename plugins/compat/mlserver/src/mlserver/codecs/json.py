"""JSON: values of models as JSON texts, and back."""

from __future__ import annotations

import json
from typing import Any

from mlserver.codecs.lists import as_list
from mlserver.codecs.utils import InputOrOutput

__all__ = [
    "JSONEncoderWithArray",
    "decode_from_bytelike_json_to_dict",
    "decode_json_input_or_output",
    "encode_to_json",
    "encode_to_json_bytes",
]


class JSONEncoderWithArray(json.JSONEncoder):
    """Encodes numpy's arrays and numbers, too."""

    def default(self, o: Any) -> Any:
        """Return what JSON has for an array or a number of numpy."""
        return o.tolist() if hasattr(o, "tolist") else super().default(o)


class _WithBytes(json.JSONEncoder):
    def default(self, o: Any) -> Any:
        return o.decode() if isinstance(o, bytes) else super().default(o)


def encode_to_json(v: Any, use_bytes: bool = True) -> str | bytes:
    """Return a value as compact JSON.

    Raises:
        ValueError: it holds a NaN or an infinity.
    """
    return _compact(v, JSONEncoderWithArray, use_bytes)


def encode_to_json_bytes(v: Any) -> bytes:
    """Return a value, which may hold bytes with UTF-8, as compact JSON. Raises as `encode_to_json`."""
    return bytes(_compact(v, _WithBytes, True))  # type: ignore[arg-type]  # these are bytes


def decode_from_bytelike_json_to_dict(v: str | bytes) -> Any:
    """Return the value of a JSON text."""
    return json.loads(v)


def decode_json_input_or_output(input_or_output: InputOrOutput) -> list[Any]:
    """Return the values of a tensor of JSON texts."""
    return [json.loads(text) for text in as_list(input_or_output.data.root)]


def _compact(value: Any, encoder: type[json.JSONEncoder], use_bytes: bool) -> str | bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), cls=encoder)
    return text.encode() if use_bytes else text
