"""Metrics: pools of worker processes. MLServer's metrics keep their names and labels."""

from __future__ import annotations

from mlsrv.metrics import COUNTS, Metric

_POOL = ("pool",)

PARALLEL_QUEUE = Metric(
    "parallel_request_queue",
    "Requests that waited for a worker process when one more came.",
    "histogram",
    (),
    COUNTS,
)
WORKER_WAITING = Metric("mlsrv_worker_queue", "Requests that wait for a worker process now.", "gauge", _POOL)
WORKERS = Metric(
    "mlsrv_workers",
    "Worker processes that take requests (alive), that do not answer (stuck), and that are missing.",
    "gauge",
    (*_POOL, "state"),
)
WORKER_MEMORY = Metric(
    "mlsrv_worker_memory_bytes",
    "Bytes that the worker processes of a pool have in memory now, shared ones counted in each; on Linux.",
    "gauge",
    _POOL,
)
WORKER_ENDS = Metric(
    "mlsrv_worker_unexpected_ends", "Worker processes that ended and were replaced.", "counter", _POOL
)

WORKER_OVERDUE = Metric(
    "mlsrv_worker_overdue_requests",
    "Requests that run on after their deadline, or long after their client has left.",
    "gauge",
    _POOL,
)

METRICS = (PARALLEL_QUEUE, WORKER_WAITING, WORKERS, WORKER_MEMORY, WORKER_ENDS, WORKER_OVERDUE)
