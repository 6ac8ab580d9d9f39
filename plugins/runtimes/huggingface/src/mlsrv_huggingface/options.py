"""Options: the arguments of a task that a request may give, and their checks."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlsrv.errors import InferenceError

Check = Callable[[Any], Any]
"""Returns the value of an option, converted, or raises a `ValueError` that says what is expected."""

NOT_OPTIONS = frozenset(
    {"content_type", "headers", "timeout", "priority", "binary_data_output", "raw_outputs", "sequence_id"}
)
"""Parameters of requests that are for the server."""


def whole(low: int, high: int = 2**31 - 1) -> Check:
    """Return the check of an integer between two limits."""

    def check(value: Any) -> int:
        number = value if isinstance(value, int) and not isinstance(value, bool) else None
        if isinstance(value, float) and value.is_integer():
            number = int(value)
        if number is None or not low <= number <= high:
            raise ValueError(f"an integer of at least {low}" if high == 2**31 - 1 else f"{low} to {high}")
        return number

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """Return the check of a number between two limits."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError("a number" if low == -math.inf else f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def flag(value: Any) -> bool:
    """Check of a truth value."""
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def text(value: Any) -> str:
    """Check of a text."""
    if isinstance(value, str):
        return value
    raise ValueError("a text")


def choice(*values: str) -> Check:
    """Return the check of one of several texts."""

    def check(value: Any) -> str:
        if value in values:
            return str(value)
        raise ValueError(f"one of {', '.join(values)}")

    return check


def texts(value: Any) -> list[str]:
    """Check of a list of texts, which may be a JSON text, or a single one."""
    found = value
    if isinstance(value, str):
        found = parsed(value) if value.lstrip().startswith("[") else [value]
    if isinstance(found, list) and found and all(isinstance(one, str) for one in found):
        return [str(one) for one in found]
    raise ValueError("a list of texts, with one at least")


def values(value: Any) -> Any:
    """Check of an object or a list, which may be a JSON text."""
    found = parsed(value) if isinstance(value, str) else value
    if isinstance(found, dict | list):
        return found
    raise ValueError("an object or a list")


def parsed(value: str) -> Any:
    """Return the value of a JSON text, or None."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def plain_option(value: Any) -> Any:
    """Return the value of an input that is an option: the only element of a tensor, or all as a list."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1).tolist()
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    return value


def checked(model: str, task: str, known: Mapping[str, Check], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a request, converted.

    Args:
        model, task: names, for messages.
        known: the options of the task.
        given: values by name; those for the server are left out.

    Raises:
        InferenceError: a name is unknown, or a value is wrong.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in NOT_OPTIONS or value is None:
            continue
        check = known.get(name)
        if check is None:
            listed = ", ".join(sorted(known)) or "none"
            near = difflib.get_close_matches(name, known, 1)
            hint = f'; did you mean "{near[0]}"?' if near else f"; it has {listed}."
            raise InferenceError(f'Model {model}: the task {task} has no option "{name[:100]}"{hint}')
        try:
            found[name] = check(value)
        except ValueError as error:
            shown = repr(value)
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            raise InferenceError(
                f'Model {model}: the option "{name}" must be {error}, not {shown}.'
            ) from None
    return found
