"""Booster: properties that a booster of LightGBM has in its text form only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from mlsrv_runtime_kit import Categories

_OBJECTIVE = re.compile(r"^objective=(\w+)", re.MULTILINE)
_INFOS = re.compile(r"^feature_infos=(.*)", re.MULTILINE)


def objective_of(booster: Any) -> str:
    """Return the objective by LightGBM's own name for it, "" if it is a function of the caller's.

    The parameters of a booster have the name that was given, which may be an alias.
    """
    found = _OBJECTIVE.search(_header(booster))
    return found[1] if found else ""


def pandas_categories(booster: Any) -> dict[int, Categories] | None:
    """Return the categories of each feature that was a pandas categorical column, by its number.

    A booster remembers the categories in the order of these columns, but not which columns they were. By
    default all its categorical features are; not so if others were declared, or if a column was ordered,
    which makes it numeric. Then it is what fits the values that each feature had in training.

    Returns:
        None if more than one choice of columns, or none, is possible.
    """
    known: list[Any] = booster.pandas_categorical or []
    found = _INFOS.search(_header(booster))
    infos = found[1].split() if found else []
    # An unpickled booster has them under the first of these names, one from a text under the second.
    declared = booster.params.get("categorical_column") or booster.params.get("categorical_feature") or []
    sizes = list(map(len, known))
    if len(declared) == len(known) and all(
        _may_have(infos[number], size) for number, size in zip(declared, sizes, strict=True)
    ):
        numbers: Sequence[int] = declared
    else:
        choices = list(islice(_choices(infos, sizes, 0), 2))
        if len(choices) != 1:
            return None
        [numbers] = choices
    return {number: Categories.of(values) for number, values in zip(numbers, known, strict=True)}


def _choices(infos: Sequence[str], sizes: Sequence[int], start: int) -> Iterator[list[int]]:
    """Yield the numbers of features that may have categories of these sizes, in this order."""
    if not sizes:
        yield []
        return
    for number in range(start, len(infos) - len(sizes) + 1):
        if _may_have(infos[number], sizes[0]):
            for rest in _choices(infos, sizes[1:], number + 1):
                yield [number, *rest]


def _may_have(info: str, size: int) -> bool:
    """Return whether a feature had codes of so many categories: "-1:2:1:0", "[0:2]", "none" if all equal."""
    if info == "none":
        return True
    texts = info.strip("[]").split(":")
    try:
        codes = [int(text) for text in texts]
    except ValueError:
        return False
    return all(-1 <= code < size for code in codes)


def _header(booster: Any) -> str:
    text: str = booster.model_to_string(num_iteration=1, start_iteration=0)
    return text.partition("\nTree=0")[0]
