"""Extras: checked values of ``parameters.extra``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from mlsrv.errors import ModelLoadError
from mlsrv.settings import ModelSettings

_T = TypeVar("_T")


def extra_value(settings: ModelSettings, key: str, kind: type[_T], default: _T) -> _T:
    """Return the value of ``parameters.extra.KEY``.

    Args:
        settings: the model's settings.
        key: its name there.
        kind: what it must be: ``bool``, ``int``, ``float`` (which takes integers), ``str``, ``list`` or
            ``dict``.
        default: if it is not there.

    Raises:
        ModelLoadError: it is of another type.
    """
    value = settings.parameters.extra.get(key)
    if value is None:
        return default
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return kind(value)  # type: ignore[call-arg]  # float of an int
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ModelLoadError(
            f"Model {settings.name}: parameters.extra.{key} must be {_KINDS[kind]}, not {value!r}."
        )
    return value


def default_output(settings: ModelSettings, outputs: Sequence[str]) -> str:
    """Return the output to send when a request asks for none.

    It is ``parameters.extra.predict_fn``, else the first.

    Raises:
        ModelLoadError: the model has no such output.
    """
    wanted = settings.parameters.extra.get("predict_fn")
    if wanted is None:
        return outputs[0]
    if wanted not in outputs:
        raise ModelLoadError(
            f"Model {settings.name}: parameters.extra.predict_fn is {wanted!r}, but the model has "
            f"{', '.join(outputs)}."
        )
    return str(wanted)


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}
