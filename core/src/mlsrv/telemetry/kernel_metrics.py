"""Kernel metrics: definitions for models and the requests to them. MLServer's names and labels are kept."""

from __future__ import annotations

from mlsrv_telemetry_kit.metrics import BYTES, SECONDS, Metric

_INFER = ("model", "version")
_MODEL = ("model_name", "model_version")

SUCCESS = Metric("model_infer_request_success", "Inference requests that succeeded.", "counter", _INFER)
FAILURE = Metric("model_infer_request_failure", "Inference requests that failed.", "counter", _INFER)
DURATION = Metric(
    "model_infer_request_duration",
    "Seconds from the arrival of an inference request at its model to its answer.",
    "histogram",
    _INFER,
    SECONDS,
)
PHASE = Metric(
    "mlsrv_phase_seconds",
    "Seconds that inference requests spent in a phase: queue, batch (waiting), decode, predict, encode.",
    "histogram",
    (*_MODEL, "phase"),
    SECONDS,
)
REQUEST_BYTES = Metric(
    "mlsrv_request_payload_bytes", "Bytes of the tensors of inference requests.", "histogram", _MODEL, BYTES
)
RESPONSE_BYTES = Metric(
    "mlsrv_response_payload_bytes", "Bytes of the tensors of inference responses.", "histogram", _MODEL, BYTES
)
REJECTED = Metric(
    "mlsrv_requests_rejected",
    "Inference requests that got an error, by its code; those for unknown models have no name.",
    "counter",
    (*_MODEL, "reason"),
)
ADMITTED = Metric(
    "mlsrv_access_admitted",
    "Requests of any kind that were let in, by who asked; the first 200 principals have a series each.",
    "counter",
    ("principal",),
)
REFUSED = Metric(
    "mlsrv_access_refused",
    "Requests of any kind that were not let in.",
    "counter",
    ("reason",),
)
IN_FLIGHT = Metric(
    "mlsrv_requests_in_flight", "Requests that a model has waiting or running now.", "gauge", _MODEL
)
MODEL_READY = Metric(
    "mlsrv_model_ready", "1 for a model that answers, 0 for one that should and does not.", "gauge", _MODEL
)
MODEL_STATE = Metric(
    "mlsrv_model_state", "1 for the state that a model is in, 0 for the others.", "gauge", (*_MODEL, "state")
)

METRICS = tuple(value for value in globals().values() if isinstance(value, Metric))
"""Each of them, in this order."""
