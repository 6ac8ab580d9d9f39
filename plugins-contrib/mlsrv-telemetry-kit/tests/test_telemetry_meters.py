"""Meters: one call records with every backend."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from mlsrv.metrics import Metric, MetricClash, Recorder, nothing
from mlsrv.testing import MemoryMeter
from mlsrv_telemetry_kit.meters import Meters

COUNT = Metric("count", "A count.", "counter", ("model",))
LEVEL = Metric("level", "A level.", "gauge")
KERNEL: Any = object()


class Refusing(MemoryMeter):
    def bind(self, metric: Metric, labels: Sequence[str]) -> Recorder:
        raise MetricClash("not here")


def test_without_meters_nothing_is_recorded() -> None:
    meters = Meters()
    assert not meters
    assert meters.bind(COUNT, ["m"]) is nothing
    meters.record(COUNT, 1.0, ["m"])


def test_a_value_reaches_every_meter() -> None:
    backends = [MemoryMeter(KERNEL), MemoryMeter(KERNEL)]
    meters = Meters(backends)
    assert meters
    meters.bind(COUNT, ["m"])(2.0)
    meters.record(COUNT, 3.0, ["m"])
    meters.bind_row([(COUNT, ["m"]), (LEVEL, ())])((1.0, 7.0))
    for backend in backends:
        assert backend.sums == {("count", "m"): 6.0, ("level",): 7.0}


def test_a_gauge_is_read_by_every_meter_until_it_is_ended() -> None:
    backends = [MemoryMeter(KERNEL), MemoryMeter(KERNEL)]
    end = Meters(backends).observe_gauge(LEVEL, lambda: [((), 4.0)])
    assert [backend.read("level") for backend in backends] == [{(): 4.0}] * 2
    end()
    assert [backend.readings for backend in backends] == [{}, {}]


def test_a_name_means_one_metric() -> None:
    meters = Meters([MemoryMeter(KERNEL)])
    meters.declare(COUNT)
    with pytest.raises(MetricClash, match='The metric "count" is a counter already'):
        meters.bind(Metric("count", "Another.", "gauge", ("model",)), ["m"])


def test_values_that_a_meter_refuses_are_logged_once_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    meters = Meters([Refusing(KERNEL)])
    with caplog.at_level(logging.ERROR, "mlsrv.metrics"):
        meters.record(COUNT, 1.0, ["m"])
        meters.record(COUNT, 1.0, ["m"])
    assert [record.getMessage() for record in caplog.records] == [
        "Values of count m are not recorded: not here"
    ]
