"""Metrics: drift of a model's inputs and outputs."""

from __future__ import annotations

from mlsrv.metrics import Metric

_MODEL = ("model_name", "model_version")
_PART = (*_MODEL, "part")
_FEATURE = (*_PART, "feature")

DRIFT_DETECTED = Metric(
    "mlsrv_drift_detected", "1 if the latest window drifted from the reference, else 0.", "gauge", _PART
)
DRIFT_SHARE = Metric(
    "mlsrv_drift_share", "Share of the features that drifted in the latest window.", "gauge", _PART
)
DRIFT_DISTANCE = Metric(
    "mlsrv_drift_distance",
    "Distance of the latest window from the reference, by feature; statistic is ks, chi2, psi, wasserstein "
    "or missing (share of values that are missing).",
    "gauge",
    (*_FEATURE, "statistic"),
)
DRIFT_P_VALUE = Metric(
    "mlsrv_drift_p_value", "Corrected p-value of the latest window, by feature.", "gauge", _FEATURE
)
DRIFT_WINDOWS = Metric(
    "mlsrv_drift_windows",
    "Windows that were compared; result is drift or none.",
    "counter",
    (*_PART, "result"),
)
DRIFT_CHANGES = Metric(
    "mlsrv_drift_changes",
    "Changes that the detector of single values found, by feature.",
    "counter",
    _FEATURE,
)
DRIFT_ROWS = Metric("mlsrv_drift_rows", "Rows of requests that were looked at.", "counter", _MODEL)
DRIFT_DROPPED = Metric(
    "mlsrv_drift_dropped",
    "Requests that were not looked at; reason is queue (too many waited) or failed (a fault in them).",
    "counter",
    (*_MODEL, "reason"),
)

METRICS = (
    DRIFT_DETECTED,
    DRIFT_SHARE,
    DRIFT_DISTANCE,
    DRIFT_P_VALUE,
    DRIFT_WINDOWS,
    DRIFT_CHANGES,
    DRIFT_ROWS,
    DRIFT_DROPPED,
)
"""All metrics of this plugin."""
