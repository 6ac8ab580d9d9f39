"""Reference: the sample of one feature that windows are compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mlsrv_drift.columns import Column
from mlsrv_drift.statistics import (
    Tested,
    binned,
    chi_squared,
    kolmogorov_smirnov,
    quantile_edges,
    stability_index,
    wasserstein,
)

MOST_CATEGORIES = 100
"""Categories that are told apart, the most frequent of the reference; the others count as one."""

LISTED = 5
"""New categories that are named."""

_OTHER = "(other)"


@frozen(eq=False)
class Comparison:
    """The difference of a window from the reference, in one feature.

    Attributes:
        rows: values of the window, without those that are missing.
        missing: share of its values that are missing: NaN, infinite or null.
        test: ``ks`` or ``chi2``.
        tested: its outcome.
        missing_p_value: of the test whether more or fewer are missing than in the reference; None if none is.
        psi: population stability index.
        wasserstein: in standard deviations of the reference; None for categories.
        before, after: summaries of both.
        words: the difference in one phrase.
    """

    rows: int
    missing: float
    test: str
    tested: Tested
    missing_p_value: float | None
    psi: float
    wasserstein: float | None
    before: dict[str, Any]
    after: dict[str, Any]
    words: str


class Reference(ABC):
    """The sample of one feature.

    Attributes:
        rows: values, without those that are missing.
        missing: how many are.
    """

    rows: int
    missing: int

    @abstractmethod
    def values(self, column: Column) -> npt.NDArray[Any]:
        """Return the values of a column as this reference compares them, missing ones included."""

    @abstractmethod
    def compare(self, values: npt.NDArray[Any]) -> Comparison:
        """Return how a window differs. At least one of its values is there."""

    @abstractmethod
    def stored(self) -> npt.NDArray[Any]:
        """Return the sample with the missing values, from which `reference_of` makes an equal one."""

    def _missing_p_value(self, missing: int, rows: int) -> float | None:
        if not missing and not self.missing:
            return None
        return chi_squared(np.array([self.missing, self.rows]), np.array([missing, rows])).p_value


def present(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values that are not missing."""
    if values.dtype == object:
        return values[[value is not None for value in values]]
    return values[np.isfinite(values)]


class NumericReference(Reference):
    """A sample of numbers.

    Args:
        values: float64, with NaN for missing ones.
        datatype: of the tensor. The values are rounded to it, or the rounding would be a drift.
    """

    def __init__(self, values: npt.NDArray[np.float64], datatype: str) -> None:
        rounded = _rounded(values, datatype)
        self._values = np.sort(rounded[np.isfinite(rounded)])
        self.rows = len(self._values)
        self.missing = len(values) - self.rows
        self._edges = quantile_edges(self._values)
        self._counts = binned(self._values, self._edges)
        self.mean = float(self._values.mean())
        self.scale = float(self._values.std()) or 1.0

    def values(self, column: Column) -> npt.NDArray[Any]:
        return column.values if not column.is_text else np.full(len(column.values), np.nan)

    def compare(self, values: npt.NDArray[Any]) -> Comparison:
        kept = present(values)
        tested = kolmogorov_smirnov(self._values, kept)
        mean = float(kept.mean())
        moved = (mean - self.mean) / self.scale
        return Comparison(
            rows=len(kept),
            missing=1 - len(kept) / len(values),
            test="ks",
            tested=tested,
            missing_p_value=self._missing_p_value(len(values) - len(kept), len(kept)),
            psi=stability_index(self._counts, binned(kept, self._edges)),
            wasserstein=wasserstein(self._values, kept) / self.scale,
            before=_summary(self._values),
            after=_summary(kept),
            words=f"mean {self.mean:.4g} before, {mean:.4g} now ({moved:+.2g} standard deviations); "
            f"standard deviation {self._values.std():.4g} before, {kept.std():.4g} now",
        )

    def stored(self) -> npt.NDArray[Any]:
        return np.concatenate((self._values, np.full(self.missing, np.nan)))


class CategoricalReference(Reference):
    """A sample of categories.

    Args:
        values: texts, with None for missing ones.
    """

    def __init__(self, values: npt.NDArray[Any]) -> None:
        kept = present(values)
        self.rows = len(kept)
        self.missing = len(values) - self.rows
        self._sample = kept
        counted = Counter(kept.tolist())
        self._known = frozenset(counted)
        self._categories = [name for name, _ in counted.most_common(MOST_CATEGORIES)]
        self._positions = {name: index for index, name in enumerate(self._categories)}
        self._counts = self._counted(kept)

    def values(self, column: Column) -> npt.NDArray[Any]:
        if column.is_text:
            return column.values
        made = np.empty(len(column.values), object)
        made[:] = [_code(value) for value in column.values]
        return made

    def compare(self, values: npt.NDArray[Any]) -> Comparison:
        kept = present(values)
        counts = self._counted(kept)
        before, after = self._shares(self._counts), self._shares(counts)
        new = sorted(set(kept.tolist()) - self._known)
        changes = {name: after[name] - before[name] for name in before}
        most = max(changes, key=lambda name: abs(changes[name]))
        words = f'share of "{most}" {before[most]:.3g} before, {after[most]:.3g} now'
        if new:
            names = ", ".join(f'"{name[:40]}"' for name in new[:LISTED])
            words += f"; {len(new)} categories are new: {names}" if len(new) > 1 else f"; {names} is new"
        return Comparison(
            rows=len(kept),
            missing=1 - len(kept) / len(values),
            test="chi2",
            tested=chi_squared(self._counts, counts),
            missing_p_value=self._missing_p_value(len(values) - len(kept), len(kept)),
            psi=stability_index(self._counts, counts),
            wasserstein=None,
            before={"shares": before},
            after={"shares": after, "new": new[:LISTED]},
            words=words,
        )

    def stored(self) -> npt.NDArray[Any]:
        made = np.empty(self.rows + self.missing, object)
        made[: self.rows] = self._sample
        return made

    def _counted(self, kept: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        last = len(self._categories)
        positions = [self._positions.get(value, last) for value in kept]
        return np.bincount(np.array(positions, np.int64), minlength=last + 1)

    def _shares(self, counts: npt.NDArray[np.int64]) -> dict[str, float]:
        shares = counts / max(int(counts.sum()), 1)
        return {name: float(share) for name, share in zip((*self._categories, _OTHER), shares, strict=True)}


def reference_of(values: npt.NDArray[Any], datatype: str, is_categorical: bool) -> Reference:
    """Return the reference of a sample, in which at least two values are not missing.

    Raises:
        ValueError: they are too few, or they are texts where the feature has numbers.
    """
    if is_categorical and values.dtype != object:
        values = np.array([_code(value) for value in values], object)
    if is_categorical and datatype == "BOOL":
        values = np.array(
            [None if value is None else _BOOLS.get(value.lower(), value) for value in values], object
        )
    if not is_categorical and values.dtype == object:
        raise ValueError("the reference has texts, and requests have numbers")
    if len(present(values)) < 2:
        raise ValueError("the reference has fewer than two values that are not missing")
    return CategoricalReference(values) if is_categorical else NumericReference(values, datatype)


_BOOLS = {"1": "true", "0": "false", "true": "true", "false": "false"}


def _code(value: float) -> str | None:
    """Return a number as a category: integers without a point."""
    if not np.isfinite(value):
        return None
    return str(int(value)) if value == int(value) else repr(float(value))


def _rounded(values: npt.NDArray[np.float64], datatype: str) -> npt.NDArray[np.float64]:
    narrower = {"FP32": np.float32, "FP16": np.float16}.get(datatype)
    if narrower is None:
        return values
    with np.errstate(over="ignore"):
        return values.astype(narrower).astype(np.float64)


def _summary(values: npt.NDArray[np.float64]) -> dict[str, float]:
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "p5": float(low),
        "median": float(middle),
        "p95": float(high),
    }
