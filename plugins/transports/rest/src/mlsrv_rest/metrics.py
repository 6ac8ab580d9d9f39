"""Metrics: those of HTTP requests, with the names and labels that MLServer uses."""

from __future__ import annotations

from mlsrv.metrics import SECONDS, Metric

_REST = ("method", "path", "status_code", "app_name")

REST_REQUESTS = Metric("rest_server_requests", "HTTP requests that were answered.", "counter", _REST)
REST_SECONDS = Metric(
    "rest_server_request_duration_seconds",
    "Seconds from the head of an HTTP request to the end of its answer.",
    "histogram",
    _REST,
    SECONDS,
)
REST_IN_PROGRESS = Metric(
    "rest_server_requests_in_progress", "HTTP requests in progress now.", "gauge", ("method", "app_name")
)

METRICS = (REST_REQUESTS, REST_SECONDS, REST_IN_PROGRESS)
