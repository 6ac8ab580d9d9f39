"""Body: fields of the bodies that clients of OpenAI send, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlsrv_openai.errors import BadField

PASSED = (
    "temperature",
    "top_p",
    "seed",
    "frequency_penalty",
    "presence_penalty",
)
"""Numbers that become parameters of the request to the model, under the same names."""

MOST_MESSAGES = 2**14
"""Messages that one conversation may have."""

_UNSUPPORTED = {
    "tools": None,
    "functions": None,
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "logit_bias": ({},),
    "n": (1,),
    "best_of": (1,),
    "suffix": ("",),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "audio": None,
    "web_search_options": None,
}
"""Fields that change the answer in a way that is not supported, and values that do not."""


def model_of(body: Mapping[str, Any]) -> str:
    """Return the name of the model. Raises `BadField`."""
    return text(body, "model")


def text(body: Mapping[str, Any], field: str) -> str:
    """Return a field that is a text, and not empty. Raises `BadField`."""
    value = body.get(field)
    if not isinstance(value, str) or not value:
        raise BadField.of(field, "must be a text")
    return value


def flag(body: Mapping[str, Any], field: str) -> bool:
    """Return a field that is true or false, and may be missing. Raises `BadField`."""
    value = body.get(field)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadField.of(field, "must be true or false")


def whole(body: Mapping[str, Any], field: str, low: int, high: int) -> int | None:
    """Return a field that is an integer between two limits, and may be missing. Raises `BadField`."""
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadField.of(field, f"must be an integer from {low} to {high}")
    return value


def texts(body: Mapping[str, Any], field: str, most: int) -> list[str]:
    """Return a field that is a text or a list of texts. Raises `BadField`."""
    value = body.get(field)
    found = [value] if isinstance(value, str) else value
    if isinstance(found, list) and len(found) > most:
        raise BadField.of(field, f"has {len(found)} texts, more than {most}")
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise BadField.of(field, "must be a text, or a list of texts; lists of tokens are not supported")
    return found


def sampling(body: Mapping[str, Any], limit: str | None) -> dict[str, Any]:
    """Return the parameters of a request to a model that makes texts.

    Args:
        body: of the client.
        limit: the field with the number of tokens, ``max_completion_tokens`` or ``max_tokens``.

    Raises:
        BadField: a field is wrong, or asks for what is not supported.
    """
    for field, harmless in _UNSUPPORTED.items():
        value = body.get(field)
        if value is not None and value != [] and (harmless is None or value not in harmless):
            raise BadField.of(field, "asks for something that is not supported")
    found: dict[str, Any] = {}
    for field in PASSED:
        value = body.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int if field == "seed" else int | float):
            raise BadField.of(field, "must be an integer" if field == "seed" else "must be a number")
        found[field] = value
    if limit is not None and (tokens := whole(body, limit, 1, 2**31 - 1)) is not None:
        found["max_tokens"] = tokens
    if body.get("stop") not in (None, []):
        found["stop"] = texts(body, "stop", 16)
    return found


def messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a conversation; parts of texts are joined. Raises `BadField`."""
    value = body.get("messages")
    if not isinstance(value, list) or not value:
        raise BadField.of("messages", "must be a list of messages, with one at least")
    if len(value) > MOST_MESSAGES:
        raise BadField.of("messages", f"has {len(value)} messages, more than {MOST_MESSAGES}")
    return [_message(one, f"messages.{index}") for index, one in enumerate(value)]


def _message(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise BadField.of(where, 'must be an object with a "role"')
    content = value.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if not all(isinstance(part, str) for part in parts):
            raise BadField.of(where, "has a part that is no text, which is not supported")
        content = "".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise BadField.of(where, 'must have a text as its "content"')
    return {**value, "content": content}
