"""False alarms: 200 windows without drift have no more of them than the threshold says."""

from typing import Any, Literal

import numpy as np
import pytest
from scipy import stats

from mlsrv.types import RequestInput
from mlsrv_drift.columns import columns_of, cut
from mlsrv_drift.part import Part
from mlsrv_drift.settings import DriftModelSettings
from mlsrv_drift.table_file import Table

WINDOWS = 200
ROWS = 100


def columns(values: Any) -> Any:
    return columns_of(cut([RequestInput("x", list(values.shape), "FP64", values.reshape(-1))]))


def alarms(features: int, correction: Literal["benjamini_hochberg", "bonferroni", "none"]) -> int:
    """Windows that drift, of `WINDOWS` from the distribution of the reference."""
    random = np.random.default_rng(5)
    settings = DriftModelSettings(drift_window=ROWS, drift_correction=correction)
    reference = random.normal(size=(4_000, features))
    part = Part("inputs", settings, ["x"], Table((), tuple(reference.T), ""))
    for number in range(WINDOWS):
        part.take(columns(random.normal(size=(ROWS, features))), True, float(number))
        part.close_window(float(number))
    assert part.windows == WINDOWS
    return part.drifted


@pytest.mark.parametrize(
    ("features", "correction"), [(1, "none"), (5, "benjamini_hochberg"), (5, "bonferroni")]
)
def test_the_rate_is_nominal(features: int, correction: Any) -> None:
    most = stats.binom.ppf(0.999, WINDOWS, 0.05)  # 20 of 200
    assert alarms(features, correction) <= most


def test_without_correction_five_features_raise_many() -> None:
    """The same windows, so that the test above cannot pass by being blind."""
    expected = 1 - 0.95**5
    assert alarms(5, "none") >= stats.binom.ppf(0.001, WINDOWS, expected)
