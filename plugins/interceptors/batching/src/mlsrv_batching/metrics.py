"""Metrics: batches. MLServer's metrics keep their names and labels."""

from __future__ import annotations

from mlsrv.metrics import COUNTS, Metric

_MODEL = ("model_name", "model_version")

BATCH_QUEUE = Metric(
    "batch_request_queue",
    "Requests that waited to be batched when one more came.",
    "histogram",
    _MODEL,
    COUNTS,
)
BATCH_WAITING = Metric("mlsrv_batch_queue", "Requests that wait to be batched now.", "gauge", _MODEL)
BATCH_ROWS = Metric("mlsrv_batch_rows", "Rows of the batches that models ran.", "histogram", _MODEL, COUNTS)
BATCH_REQUESTS = Metric(
    "mlsrv_batch_requests", "Requests in the batches that models ran.", "histogram", _MODEL, COUNTS
)

METRICS = (BATCH_QUEUE, BATCH_WAITING, BATCH_ROWS, BATCH_REQUESTS)
