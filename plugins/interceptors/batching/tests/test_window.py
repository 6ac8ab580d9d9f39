"""Window: the cost model, the rate of arrivals and the time to wait."""

from __future__ import annotations

import random

import pytest

from mlsrv_batching.window import Arrivals, CostModel, Window


def trained(fixed: float, slope: float) -> Window:
    window = Window(objective=0.1, max_rows=32)
    chance = random.Random(1)
    for _ in range(200):
        rows = chance.randint(1, 32)
        window.cost.observe(rows, fixed + slope * rows)
    return window


def test_the_cost_model_fits_fixed_and_per_row_cost() -> None:
    fixed, slope = trained(0.010, 0.0005).cost.coefficients
    assert fixed == pytest.approx(0.010, rel=0.05)
    assert slope == pytest.approx(0.0005, rel=0.05)


def test_one_outlier_changes_the_prediction_little() -> None:
    cost = trained(0.010, 0.0005).cost
    before = cost.predict(16)
    cost.observe(16, 10.0)
    assert cost.predict(16) < 1.2 * before


def test_batches_of_one_size_count_as_fixed_cost() -> None:
    cost = CostModel()
    for _ in range(20):
        cost.observe(1, 0.003)
    assert cost.coefficients == (pytest.approx(0.003), 0.0)


def test_the_rate_of_arrivals_is_measured() -> None:
    arrivals = Arrivals()
    for tick in range(200):
        arrivals.observe(2, now=tick * 0.01)
    assert arrivals.rate == pytest.approx(200, rel=0.1)


def test_the_window_is_zero_where_waiting_does_not_pay() -> None:
    window = Window(objective=0.1, max_rows=32)
    assert window.wait(1, 0.0) == 0.0  # no cost is known yet
    window = trained(0.010, 0.0005)
    assert window.wait(1, 0.0) == 0.0  # no other rows are expected
    for tick in range(100):
        window.arrivals.observe(1, now=tick * 0.001)
    assert 0.0 < window.wait(1, 0.0) <= 0.0101
    assert window.wait(32, 0.0) == 0.0  # full
    assert window.wait(1, 0.099) == 0.0  # the objective is used up
