"""Stream detector: equal to river on standardized values, deaf to none, and the same after a restart."""

from typing import Any

import numpy as np
import pytest
from river import drift

from mlsrv.errors import ConfigurationError
from mlsrv_drift import stream_detector
from mlsrv_drift.stream_detector import SEED, StreamDetector

RIVER = {"adwin": drift.ADWIN, "kswin": lambda: drift.KSWIN(seed=SEED), "page_hinkley": drift.PageHinkley}


def shift(random: np.random.Generator, count: int = 600) -> Any:
    return np.concatenate((random.normal(50, 0.01, count), random.normal(50.03, 0.01, count)))


@pytest.mark.parametrize("kind", RIVER)
def test_changes_are_those_of_river(kind: str) -> None:
    values = shift(np.random.default_rng(3))
    detector, reference = StreamDetector(kind, 50, 0.01), RIVER[kind]()
    expected = 0
    for value in (values - 50) / 0.01:
        reference.update(value)
        expected += reference.drift_detected
    assert detector.update(values) == expected > 0


@pytest.mark.parametrize("kind", ["adwin", "page_hinkley"])
def test_a_missing_value_does_not_end_detection(kind: str) -> None:
    values = shift(np.random.default_rng(3))
    with_missing = np.insert(values, [5, 6], [np.nan, np.inf])
    assert StreamDetector(kind, 50, 0.01).update(with_missing) == StreamDetector(kind, 50, 0.01).update(
        values
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_the_scale_does_not_matter(scale: float) -> None:
    values = shift(np.random.default_rng(3))
    found = StreamDetector("adwin", 50 * scale, 0.01 * scale).update(values * scale)
    assert found == StreamDetector("adwin", 50, 0.01).update(values) > 0


def test_a_detector_goes_on_after_a_restart() -> None:
    values = shift(np.random.default_rng(4))
    whole = StreamDetector("adwin", 50, 0.01)
    whole.update(values[:500])
    second = StreamDetector("adwin", 50, 0.01)
    second.replay(whole.recent)
    assert second.update(values[500:]) == whole.update(values[500:]) > 0


def test_without_river_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "river", None)
    with pytest.raises(ConfigurationError, match=r"mlsrv-drift\[stream\]"):
        stream_detector.made("adwin")


async def test_changes_are_counted_while_serving(watch: Any) -> None:
    values = shift(np.random.default_rng(3))[:, None]
    async with watch(drift_learn=200, drift_window=10_000, drift_stream="adwin") as watched:
        for start in range(0, 1200, 100):
            await watched.ask(values[start : start + 100])
        report = await watched.until(lambda found: found["rows"] == 1200)
    assert report["parts"]["inputs"]["changes"]["input"] >= 1
