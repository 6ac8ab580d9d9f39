"""Series: no value is lost between threads, and buckets are those of Prometheus."""

import threading
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Theirs

from mlsrv.metrics import Metric
from mlsrv_prometheus.family import Family
from mlsrv_prometheus.series import BUFFER_LIMIT, Counter, Gauge, Histogram, SampleBuffer, Series


def test_counters_add_and_gauges_keep_the_last() -> None:
    counter, gauge = Counter(("a",)), Gauge(())
    for number in range(3 * BUFFER_LIMIT):
        counter.recorder()(1.0)
        gauge.recorder()(float(number))
    assert all(len(buffer) < BUFFER_LIMIT for buffer in counter.buffers), "what is kept is bounded"
    counter.flush()
    gauge.flush()
    assert (counter.value, gauge.value) == (3.0 * BUFFER_LIMIT, 3.0 * BUFFER_LIMIT - 1)


def flushed_concurrently(work: Callable[[], None], *series: Series) -> None:
    """Do something 20,000 times in each of four threads, beside flushes, and flush at the end."""

    def repeat() -> None:
        for _ in range(20_000):
            work()

    threads = [threading.Thread(target=repeat) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for each in series:
            each.flush()
    for each in series:
        each.flush()


def test_no_value_of_any_thread_is_lost() -> None:
    series = Histogram((), (0.5,))
    record = series.recorder()

    flushed_concurrently(lambda: record(1.0), series)
    assert (series.counts.tolist(), series.sum) == ([0, 80_000], 80_000.0)


def test_rows_stay_together_between_threads() -> None:
    counter, histogram = Counter(()), Histogram((), (0.5,))
    row, alone = SampleBuffer([counter, histogram]).row_recorder(), counter.recorder()

    def work() -> None:
        row((3.0, 0.25))
        alone(1.0)

    flushed_concurrently(work, histogram, counter)
    assert all(len(buffer) == 0 for buffer in (*counter.buffers, *histogram.buffers))
    assert (counter.value, histogram.counts.tolist(), histogram.sum) == (320_000.0, [80_000, 0], 20_000.0)


@pytest.mark.parametrize("buckets", [(), (0.0, 1.0, 2.5), (-1.0, 0.0)])
def test_histograms_are_those_of_prometheus_client(buckets: tuple[float, ...]) -> None:
    values = [-3.0, -1.0, 0.0, 0.001, 0.005, 1.0, 1.0000001, 2.5, 3.0, 1e9, float("inf")]
    registry = CollectorRegistry()
    theirs = Theirs("x", "X.", registry=registry, **({"buckets": buckets} if buckets else {}))
    family = Family(Metric("x", "X.", buckets=buckets), "x")
    for value in values:
        theirs.observe(value)
        family.series(()).recorder()(value)
    (wanted,) = registry.collect()
    expected = {
        (sample.name, sample.labels.get("le")): sample.value
        for sample in wanted.samples
        if not sample.name.endswith("_created")
    }
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples().samples}
    assert found == expected


def test_a_value_that_is_no_number_is_above_all_bounds() -> None:
    series = Histogram((), (1.0,))
    series.recorder()(float("nan"))
    series.flush()
    assert series.counts.tolist() == [0, 1]
