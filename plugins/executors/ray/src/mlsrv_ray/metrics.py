"""Metrics: models on a Ray cluster."""

from __future__ import annotations

from mlsrv.metrics import Metric

_MODEL = ("model", "version")

REPLICAS = Metric(
    "mlsrv_ray_replicas", "Replicas of a model on the cluster that take requests now.", "gauge", _MODEL
)
WAITING = Metric("mlsrv_ray_queue", "Requests that wait for a replica now.", "gauge", _MODEL)
ENDS = Metric(
    "mlsrv_ray_unexpected_ends", "Replicas that ended on the cluster and were replaced.", "counter", _MODEL
)
CONNECTED = Metric("mlsrv_ray_connected", "1 while the cluster answers, else 0.", "gauge")

METRICS = (REPLICAS, WAITING, ENDS, CONNECTED)
