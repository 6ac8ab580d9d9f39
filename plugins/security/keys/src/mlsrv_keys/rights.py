"""Rights: from plain data, as files, settings and tokens have them, to those of a principal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from mlsrv.authorization import ACTIONS, Action

Rights = Mapping[Action, tuple[str, ...]]


def parse_rights(value: Any, where: str = "rights") -> Rights:
    """Return the rights in plain data.

    Args:
        value: ``{"infer": ["iris-*"], "health": ["*"]}``, or the actions alone, which then hold for all
            models: ``["infer", "health"]``.
        where: what it is, for messages.

    Raises:
        ValueError: it has another form, or an unknown action.
    """
    if isinstance(value, list | tuple):
        value = {item: ["*"] for item in value} if _are_texts(value) else None
    if not isinstance(value, Mapping):
        raise ValueError(f'{where}: expected an object such as {{"infer": ["*"]}}')
    found: dict[Action, tuple[str, ...]] = {}
    for action, models in value.items():
        if action not in ACTIONS:
            raise ValueError(f"{where}: unknown action {action!r}; actions are {', '.join(ACTIONS)}")
        if not isinstance(models, list | tuple) or not _are_texts(models):
            raise ValueError(f"{where}.{action}: expected a list of names of models, * stands for any")
        found[cast("Action", action)] = tuple(models)
    return found


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
