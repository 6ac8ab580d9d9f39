"""Statistic sums: statistics of models from several processes as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["summed"]

_LATEST = "last_inference"
"""The field that holds a time; every other number is a count or a duration."""


def summed(found: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the statistics of all processes as one, in the order in which models occur.

    Args:
        found: for each process those of its models, in the form of the statistics extension.
    """
    models: dict[tuple[str, str], dict[str, Any]] = {}
    for process in found:
        for model in process:
            key = str(model.get("name")), str(model.get("version"))
            models[key] = _sum(models[key], model) if key in models else model
    return list(models.values())


def _sum(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {key: _combined(key, left.get(key), right.get(key)) for key in left | right}


def _combined(key: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return right if left is None else left
    if isinstance(left, dict) and isinstance(right, dict):
        return _sum(left, right)
    if isinstance(left, list) and isinstance(right, list):
        return _sum_lists(left, right)
    if isinstance(left, int | float) and isinstance(right, int | float):
        return max(left, right) if key == _LATEST else left + right
    return left


def _sum_lists(left: list[Any], right: list[Any]) -> list[Any]:
    """Sum the statistics of batches, whose entries belong together where their sizes are equal."""
    entries: dict[Any, Any] = {}
    for number, entry in enumerate([*left, *right]):
        size = entry.get("batch_size") if isinstance(entry, dict) else None
        key = ("other", number) if size is None else size
        if key in entries:
            entries[key] = _sum(entries[key], entry) | {"batch_size": size}
        else:
            entries[key] = entry
    return list(entries.values())
