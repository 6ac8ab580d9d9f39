"""Statistics: equal to scipy called directly, and to formulas written out."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from mlsrv_drift.statistics import (
    binned,
    chi_squared,
    corrected,
    kolmogorov_smirnov,
    quantile_edges,
    stability_index,
    wasserstein,
)

SAMPLES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda random: random.normal(size=300),
    "shifted": lambda random: random.normal(0.3, size=200),
    "heavy": lambda random: random.standard_cauchy(size=500),
    "ties": lambda random: random.integers(0, 4, 250).astype(float),
    "constant": lambda random: np.full(50, 2.0),
    "two": lambda random: np.array([1.0, 2.0]),
}


@pytest.mark.parametrize("window", SAMPLES)
@pytest.mark.parametrize("reference", SAMPLES)
def test_numbers_are_those_of_scipy(reference: str, window: str) -> None:
    random = np.random.default_rng(1)
    first, second = SAMPLES[reference](random), SAMPLES[window](random)
    found, expected = kolmogorov_smirnov(first, second), stats.ks_2samp(first, second)
    assert (found.statistic, found.p_value) == (expected.statistic, expected.pvalue)
    assert wasserstein(first, second) == stats.wasserstein_distance(first, second)


def test_large_samples_use_the_asymptotic_distribution_of_scipy() -> None:
    random = np.random.default_rng(2)
    first, second = random.normal(size=4000), random.normal(0.05, size=1000)
    expected = stats.ks_2samp(first, second, method="asymp")
    found = kolmogorov_smirnov(first, second)
    assert (found.statistic, found.p_value) == (expected.statistic, expected.pvalue)
    assert found.p_value == pytest.approx(stats.ks_2samp(first, second, method="exact").pvalue, abs=0.02)


def test_categories_are_those_of_scipy() -> None:
    reference, window = np.array([30, 50, 20, 0]), np.array([10, 60, 25, 5])
    expected = stats.chi2_contingency(np.stack((reference, window)), correction=False)
    found = chi_squared(reference, window)
    assert (found.statistic, found.p_value) == (expected.statistic, expected.pvalue)


def test_categories_that_neither_has_do_not_count() -> None:
    with_empty = chi_squared(np.array([30, 0, 20]), np.array([10, 0, 25]))
    assert with_empty == chi_squared(np.array([30, 20]), np.array([10, 25]))
    alone = chi_squared(np.array([30, 0]), np.array([10, 0]))
    assert (alone.statistic, alone.p_value) == (0.0, 1.0)


def test_the_stability_index_is_the_sum_written_out() -> None:
    reference, window = [90, 10, 0], [60, 20, 20]
    total = 0.0
    for before, now in zip(reference, window, strict=True):
        expected, actual = (before + 0.5) / 101.5, (now + 0.5) / 101.5
        total += (actual - expected) * math.log(actual / expected)
    assert stability_index(np.array(reference), np.array(window)) == pytest.approx(total, rel=1e-12)
    assert stability_index(np.array([5, 5]), np.array([50, 50])) == pytest.approx(0, abs=1e-12)


def test_bins_are_deciles_of_the_reference() -> None:
    values = np.arange(100, dtype=float)
    edges = quantile_edges(values)
    assert binned(values, edges).tolist() == [10] * 10
    assert binned(np.array([-1e9, 1e9]), edges).tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    constant = quantile_edges(np.full(10, 3.0))
    assert binned(np.array([2.0, 3.0, 4.0]), constant).tolist() == [2, 1]


def test_corrections() -> None:
    values = [0.001, 0.02, 0.04, 0.9]
    assert corrected(values, "none") == values
    assert corrected(values, "bonferroni") == [0.004, 0.08, 0.16, 1.0]
    assert corrected(values, "benjamini_hochberg") == pytest.approx(
        stats.false_discovery_control(values, method="bh").tolist()
    )
    assert corrected([], "bonferroni") == []
    assert corrected([0.3], "benjamini_hochberg") == [0.3]
