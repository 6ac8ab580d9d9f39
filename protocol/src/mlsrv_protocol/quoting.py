"""Quoting: shortens received values for error sentences."""

import json

LIMIT = 60


def clip(value: object) -> str:
    """Return any value as one printable line in the spelling of JSON, of at most about 60 characters."""
    if isinstance(value, bytes):
        value = value[: LIMIT + 1].decode("utf-8", "replace")
    if isinstance(value, str):
        text = json.dumps(str(value[: LIMIT + 1]))
    elif value is None or isinstance(value, bool | float):
        text = json.dumps(value)
    elif isinstance(value, int):
        text = str(value) if value.bit_length() <= 256 else "an integer of more than 256 bits"
    elif isinstance(value, list | tuple):
        text = "an array"
    elif isinstance(value, dict):
        text = "an object"
    else:
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= LIMIT else f"{text[:LIMIT]}…"
