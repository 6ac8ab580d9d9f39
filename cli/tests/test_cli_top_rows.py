"""What ``mlsrv top`` makes of two samples."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mlsrv_cli.top.metrics import Metrics, MetricsMissing
from mlsrv_cli.top.rows import Pool, Topic, compare, quantile
from mlsrv_cli.top.sample import ModelSample, Sample, Source


class Scraped:
    """A registry of Prometheus' own client, filled as a server fills it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["model_name", "model_version"]
        self.duration = Histogram(
            "model_infer_request_duration",
            "x",
            ["model", "version"],
            buckets=(0.1, 1.0),
            registry=self.registry,
        )
        self.in_flight = Gauge("mlsrv_requests_in_flight", "x", labels, registry=self.registry)
        self.queue = Gauge("mlsrv_batch_queue", "x", labels, registry=self.registry)
        self.workers = Gauge("mlsrv_workers", "x", ["pool", "state"], registry=self.registry)
        self.waiting = Gauge("mlsrv_worker_queue", "x", ["pool"], registry=self.registry)
        partition = ["topic", "partition"]
        self.behind = Gauge("mlsrv_kafka_lag", "x", partition, registry=self.registry)
        self.in_work = Gauge("mlsrv_kafka_in_flight", "x", partition, registry=self.registry)
        self.oldest = Gauge("mlsrv_kafka_oldest_seconds", "x", partition, registry=self.registry)
        self.records = Counter("mlsrv_kafka_records", "x", ["topic", "outcome"], registry=self.registry)
        self.memory = Gauge("process_resident_memory_bytes", "x", registry=self.registry)

    def read(self) -> Metrics:
        return Metrics.parse(generate_latest(self.registry).decode())


def sample(time: float, *models: ModelSample, metrics: Metrics | None = None) -> Sample:
    return Sample(time, "mlsrv 1", True, models, metrics, "" if metrics else "none there")


def test_rates_are_those_since_the_last_look() -> None:
    before = sample(10.0, ModelSample("m", "v1", "READY", "", 100, 5, 10.0, 50))
    now = sample(12.0, ModelSample("m", "v1", "READY", "", 140, 7, 12.0, 60), ModelSample("n", "", "LOADING"))
    reading = compare(before, now)
    one, two = reading.models
    assert (one.rate, one.errors, one.mean, one.batch) == (20.0, 1.0, 0.05, 4.0)
    assert (one.p50, one.in_flight) == (None, None)
    assert (two.rate, two.mean, two.batch) == (0.0, None, None)
    assert (reading.rate, reading.errors, reading.missing) == (20.0, 1.0, "none there")


def test_the_first_look_knows_no_rates() -> None:
    reading = compare(None, sample(1.0, ModelSample("m", "", "READY", "", 100, 5, 10.0, 50)))
    assert (reading.models[0].rate, reading.rate, reading.cpu) == (None, None, None)


def test_a_server_that_was_started_again_counts_from_nothing() -> None:
    metrics, fresh = Scraped(), Scraped()
    for _ in range(3):
        metrics.duration.labels("m", "").observe(0.5)
    fresh.duration.labels("m", "").observe(0.05)
    before = sample(0.0, ModelSample("m", "", "READY", "", 100, 5, 10.0, 50), metrics=metrics.read())
    now = sample(1.0, ModelSample("m", "", "READY", "", 2, 0, 0.2, 2), metrics=fresh.read())
    (row,) = compare(before, now).models
    assert (row.rate, row.errors, row.mean, row.p50) == (2.0, 0.0, 0.1, 0.05)


def test_metrics_give_percentiles_queues_and_workers() -> None:
    scraped = Scraped()
    scraped.duration.labels("m", "v1").observe(5.0)
    model = ModelSample("m", "v1", "READY")
    before = sample(0.0, model, metrics=scraped.read())
    for value in (0.05,) * 50 + (0.5,) * 50:
        scraped.duration.labels("m", "v1").observe(value)
    scraped.in_flight.labels("m", "v1").set(3)
    scraped.queue.labels("m", "v1").set(2)
    scraped.workers.labels("default", "alive").set(3)
    scraped.workers.labels("default", "missing").set(1)
    scraped.waiting.labels("default").set(7)
    scraped.memory.set(2**20)
    reading = compare(before, sample(1.0, model, metrics=scraped.read()))
    (row,) = reading.models
    assert (row.p50, row.in_flight, row.queue) == (pytest.approx(0.1), 3, 2)
    assert row.p95 == pytest.approx(0.1 + 0.9 * 0.9)
    assert (reading.pools, reading.memory) == ((Pool("default", 3, 1, 7),), 2**20)


def test_topics_of_kafka() -> None:
    scraped = Scraped()
    before = sample(0.0, metrics=scraped.read())
    assert compare(None, before).connected is None
    for partition in ("0", "1"):
        scraped.behind.labels("in", partition).set(50)
        scraped.in_work.labels("in", partition).set(4)
    scraped.oldest.labels("in", "0").set(0.5)
    scraped.oldest.labels("in", "1").set(7)
    scraped.records.labels("in", "answered").inc(30)
    scraped.records.labels("in", "skipped").inc(2)
    scraped.records.labels("in", "failed").inc(4)
    Gauge("mlsrv_kafka_connected", "x", registry=scraped.registry).set(1)
    reading = compare(before, sample(2.0, metrics=scraped.read()))
    assert reading.topics == (Topic("in", 2, 100, 8, 7, 15, 3),)
    assert reading.connected is True
    assert compare(None, sample(2.0, metrics=scraped.read())).topics[0].rate is None


def test_quantiles() -> None:
    assert quantile(0.5, {}) is None
    assert quantile(0.5, {1.0: 0.0, math.inf: 0.0}) is None
    assert quantile(0.5, {1.0: 10.0, 2.0: 10.0, math.inf: 10.0}) == 0.5
    assert quantile(0.99, {1.0: 0.0, 2.0: 100.0, math.inf: 100.0}) == pytest.approx(1.99)
    assert quantile(0.99, {1.0: 50.0, math.inf: 100.0}) == 1.0


@pytest.mark.parametrize("text", ["<html>hello</html>", 'a{b="c} 1\n', "a b c d e\n"])
def test_a_missing_or_wrong_metrics_endpoint_is_explained(text: str) -> None:
    with pytest.raises(MetricsMissing, match="not in the text format"):
        Metrics.parse(text)


def test_metrics_are_looked_for_beside_the_server() -> None:
    assert Source("grpc://models.example:8081").metrics_url == "http://models.example:8082/metrics"
    assert Source("http://[::1]:8080").metrics_url == "http://[::1]:8082/metrics"
