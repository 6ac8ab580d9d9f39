"""Statistics: distances between two samples, and corrections of p-values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from attrs import frozen

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

EXACT = 250_000
"""Product of the sizes of two samples up to which the exact distribution is used; beyond, it takes long."""

BINS = 10
"""Quantiles of the reference by which the stability index counts numbers."""


@frozen
class Tested:
    """The outcome of a test.

    Attributes:
        statistic: its distance.
        p_value: the probability of such a distance, or of a larger one, without drift.
    """

    statistic: float
    p_value: float


def kolmogorov_smirnov(reference: Numbers, window: Numbers) -> Tested:
    """Return the two-sample Kolmogorov-Smirnov test; both samples have finite values only."""
    from scipy.stats import ks_2samp

    method: Any = "auto" if len(reference) * len(window) <= EXACT else "asymp"
    found = ks_2samp(reference, window, method=method)
    return Tested(float(found.statistic), float(found.pvalue))


def wasserstein(reference: Numbers, window: Numbers) -> float:
    """Return the first Wasserstein distance, in the unit of the values."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(reference, window))


def chi_squared(reference: Counts, window: Counts) -> Tested:
    """Return the chi-squared test that two rows of counts, by category, have one distribution.

    Categories that neither has are left out; with one category left there is no difference.
    """
    from scipy.stats import chi2_contingency

    table = np.stack((reference, window))
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return Tested(0.0, 1.0)
    found = chi2_contingency(table, correction=False)
    return Tested(float(found.statistic), float(found.pvalue))


def stability_index(reference: Counts, window: Counts) -> float:
    """Return the population stability index of two rows of counts.

    Half a value is added to each count, so that an empty one does not make it infinite.
    """
    expected, actual = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (reference, window))
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def quantile_edges(reference: Numbers) -> Numbers:
    """Return the inner edges of the bins of `binned`: the distinct deciles of a sample."""
    inner = np.quantile(reference, np.arange(1, BINS) / BINS)
    return np.unique(np.asarray(inner, np.float64))


def binned(values: Numbers, edges: Numbers) -> Counts:
    """Return how many values are in each bin; a value on an edge is in the bin below it."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)


def corrected(
    p_values: Sequence[float], method: Literal["benjamini_hochberg", "bonferroni", "none"]
) -> list[float]:
    """Return p-values of several tests of one window, adjusted for their number."""
    if method == "none" or len(p_values) < 2:
        return list(p_values)
    if method == "bonferroni":
        return [min(1.0, value * len(p_values)) for value in p_values]
    from scipy.stats import false_discovery_control

    return [float(value) for value in false_discovery_control(p_values, method="bh")]
