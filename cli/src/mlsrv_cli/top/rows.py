"""Readings: the rates and values between two samples of a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from mlsrv.telemetry.kernel_metrics import DURATION, IN_FLIGHT
from mlsrv_cli.top.sample import ModelSample, Sample

BATCH_WAITING = "mlsrv_batch_queue"
WORKERS = "mlsrv_workers"
WORKER_WAITING = "mlsrv_worker_queue"
RECORDS_BEHIND = "mlsrv_kafka_lag"
RECORDS_IN_WORK = "mlsrv_kafka_in_flight"
OLDEST_RECORD = "mlsrv_kafka_oldest_seconds"
RECORDS = "mlsrv_kafka_records_total"
CONNECTED = "mlsrv_kafka_connected"
"""Metrics of plugins, which a server may be without."""


@frozen
class Row:
    """One version of one model. Values that are unknown are None.

    Attributes:
        name, version, state, reason: as the repository index has them.
        rate, errors: requests a second that succeeded, and that failed.
        mean, p50, p95, p99: seconds that a request took; percentiles need metrics.
        in_flight: requests that are waiting or running now.
        queue: requests that wait to be batched now.
        batch: requests for each call of the model.
    """

    name: str
    version: str
    state: str
    reason: str
    rate: float | None = None
    errors: float | None = None
    mean: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    in_flight: float | None = None
    queue: float | None = None
    batch: float | None = None


@frozen
class Pool:
    """A pool of worker processes: living and missing workers, and requests that wait for one."""

    name: str
    alive: int
    missing: int
    queue: int


@frozen
class Topic:
    """A topic of Kafka that the server reads; its partitions there together.

    Attributes:
        name: of the topic.
        partitions: that the server reads.
        behind: records that are not committed yet.
        in_work: records that were read and are not done with.
        oldest: seconds since the oldest of them was read.
        rate, failed: records a second that were answered, and that could not be; None at the first look.
    """

    name: str
    partitions: int
    behind: float
    in_work: float
    oldest: float
    rate: float | None = None
    failed: float | None = None


@frozen
class Reading:
    """All values that ``mlsrv top`` shows.

    Attributes:
        server: its name and version.
        ready: whether every model is that should be.
        models: one row each.
        pools: of worker processes.
        topics: of Kafka.
        connected: whether records can be read and answers written; None without Kafka.
        memory: bytes that the server's own process holds.
        cpu: seconds of processor time that it takes each second.
        missing: why there are no metrics, or empty.
    """

    server: str
    ready: bool
    models: tuple[Row, ...]
    pools: tuple[Pool, ...] = ()
    memory: float | None = None
    cpu: float | None = None
    missing: str = ""
    topics: tuple[Topic, ...] = ()
    connected: bool | None = None
    rate: float | None = field(init=False)
    errors: float | None = field(init=False)

    @rate.default
    def _whole_rate(self) -> float | None:
        return _sum(row.rate for row in self.models)

    @errors.default
    def _all_errors(self) -> float | None:
        return _sum(row.errors for row in self.models)


def compare(before: Sample | None, now: Sample) -> Reading:
    """Return the changes since `before`; without it, only the present values."""
    earlier = {(model.name, model.version): model for model in before.models} if before is not None else {}
    models = tuple(_row(earlier.get((one.name, one.version)), one, before, now) for one in now.models)
    return Reading(
        now.server,
        now.ready,
        models,
        _pools(now),
        now.metrics.total("process_resident_memory_bytes") if now.metrics is not None else None,
        _per_second(before, now, "process_cpu_seconds_total"),
        now.missing,
        _topics(before, now),
        None if now.metrics is None or (up := now.metrics.total(CONNECTED)) is None else bool(up),
    )


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """Return the value below which a share of observations lies, interpolated linearly between the bounds of
    the buckets.

    Above the largest bound, that bound is returned; without observations, None.
    """
    bounds = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    wanted = share * buckets[bounds[-1]]
    lower = below = 0.0
    for bound in bounds:
        inside = buckets[bound] - below
        if buckets[bound] >= wanted:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * ((wanted - below) / inside if inside else 1.0)
        lower, below = bound, buckets[bound]
    return lower


def _row(earlier: ModelSample | None, one: ModelSample, before: Sample | None, now: Sample) -> Row:
    row = Row(one.name, one.version, one.state, one.reason, **_now(one, now))
    if before is None:
        return row
    past = earlier if earlier is not None else ModelSample(one.name, one.version, "")
    if past.succeeded > one.succeeded or past.failed > one.failed:  # the server was started again
        past = ModelSample(one.name, one.version, "")
    elapsed = max(now.time - before.time, 1e-9)
    succeeded, executions = one.succeeded - past.succeeded, one.executions - past.executions
    values: dict[str, float | None] = {
        "rate": succeeded / elapsed,
        "errors": (one.failed - past.failed) / elapsed,
        "mean": (one.seconds - past.seconds) / succeeded if succeeded else None,
        "batch": succeeded / executions if executions > 0 else None,
    }
    values |= _measured(one, before, now)
    return Row(
        one.name, one.version, one.state, one.reason, **values, in_flight=row.in_flight, queue=row.queue
    )


def _now(one: ModelSample, now: Sample) -> dict[str, float | None]:
    if now.metrics is None:
        return {}
    labels = {"model_name": one.name, "model_version": one.version}
    return {
        "in_flight": now.metrics.total(IN_FLIGHT.name, **labels),
        "queue": now.metrics.total(BATCH_WAITING, **labels),
    }


def _measured(one: ModelSample, before: Sample, now: Sample) -> dict[str, float | None]:
    """Return the values of a row that only metrics contain."""
    if before.metrics is None or now.metrics is None:
        return {}
    labels = {"model": one.name, "version": one.version}
    buckets = _since(*(one.buckets(DURATION.name, **labels) for one in (before.metrics, now.metrics)))
    return {
        "p50": quantile(0.5, buckets),
        "p95": quantile(0.95, buckets),
        "p99": quantile(0.99, buckets),
    }


def _since(before: Mapping[float, float], now: Mapping[float, float]) -> dict[float, float]:
    if any(count < before.get(bound, 0.0) for bound, count in now.items()):  # the server was started again
        return dict(now)
    return {bound: count - before.get(bound, 0.0) for bound, count in now.items()}


def _pools(now: Sample) -> tuple[Pool, ...]:
    if now.metrics is None:
        return ()
    count = now.metrics.total
    names = dict.fromkeys(labels.get("pool", "") for labels, _ in now.metrics.series(WORKERS))
    return tuple(
        Pool(
            name,
            int(count(WORKERS, pool=name, state="alive") or 0),
            int(count(WORKERS, pool=name, state="missing") or 0),
            int(count(WORKER_WAITING, pool=name) or 0),
        )
        for name in names
    )


def _topics(before: Sample | None, now: Sample) -> tuple[Topic, ...]:
    if now.metrics is None:
        return ()
    found = []
    for name in dict.fromkeys(labels.get("topic", "") for labels, _ in now.metrics.series(RECORDS_IN_WORK)):
        in_work = [value for _, value in now.metrics.series(RECORDS_IN_WORK, topic=name)]
        ages = [value for _, value in now.metrics.series(OLDEST_RECORD, topic=name)]
        lost = [_per_second(before, now, RECORDS, topic=name, outcome=each) for each in ("failed", "skipped")]
        found.append(
            Topic(
                name,
                len(in_work),
                now.metrics.total(RECORDS_BEHIND, topic=name) or 0.0,
                sum(in_work),
                max(ages, default=0.0),
                _per_second(before, now, RECORDS, topic=name, outcome="answered"),
                _sum(lost),
            )
        )
    return tuple(found)


def _per_second(before: Sample | None, now: Sample, name: str, **labels: str) -> float | None:
    if before is None or before.metrics is None or now.metrics is None:
        return None
    past, present = before.metrics.total(name, **labels), now.metrics.total(name, **labels)
    if past is None and labels:
        past = 0.0  # a series is there once it has counted
    if past is None or present is None or present < past:
        return None
    return (present - past) / max(now.time - before.time, 1e-9)


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
