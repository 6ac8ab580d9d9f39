"""Alert rules for Prometheus."""

from __future__ import annotations

import json

from attrs import frozen

from mlsrv_prometheus.names import (
    DRIFT_DETECTED,
    DRIFT_DROPPED,
    DURATION,
    FAILURE,
    KAFKA_CONNECTED,
    KAFKA_ERRORS,
    KAFKA_LAG,
    KAFKA_OLDEST,
    MODEL_READY,
    PHASE,
    REJECTED,
    SUCCESS,
    WORKER_ENDS,
    WORKERS,
)
from mlsrv_prometheus.queries import counter, equals, gauge, matches, quantile, rate

WINDOW = "5m"


@frozen
class Alert:
    """One rule.

    Attributes:
        name: in the form of Prometheus's own.
        expression: is true while something is wrong.
        lasting: how long it must be.
        severity: ``"warning"`` or ``"critical"``.
        summary: one sentence, with the labels of the expression.
    """

    name: str
    expression: str
    lasting: str
    severity: str
    summary: str


def _failing(share: float) -> str:
    failed, fine = rate(FAILURE, "model", window=WINDOW), rate(SUCCESS, "model", window=WINDOW)
    return f"{failed} / ({failed} + {fine}) > {share}"


ALERTS = (
    Alert(
        "ModelNotReady",
        f"{gauge(MODEL_READY)} == 0",
        "5m",
        "critical",
        "The model {{ $labels.model_name }} {{ $labels.model_version }} does not answer.",
    ),
    Alert(
        "ModelFails",
        _failing(0.05),
        "5m",
        "warning",
        "The model {{ $labels.model }} fails {{ $value | humanizePercentage }} of its requests.",
    ),
    Alert(
        "ModelSlow",
        f"{quantile(0.99, DURATION, 'model', window=WINDOW)} > 5",
        "10m",
        "warning",
        "One request in a hundred to {{ $labels.model }} takes more than {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "ModelQueueLong",
        f"{quantile(0.95, PHASE, 'model_name', window=WINDOW, phase=equals('queue'))} > 1",
        "10m",
        "warning",
        "Requests to {{ $labels.model_name }} wait {{ $value | humanizeDuration }} to be worked on.",
    ),
    Alert(
        "RequestsRefused",
        f"{rate(REJECTED, 'model_name', 'reason', window=WINDOW, reason=matches('(model|server)_.*'))} > 0",
        "5m",
        "warning",
        "Requests to {{ $labels.model_name }} are refused, for there are too many ({{ $labels.reason }}).",
    ),
    Alert(
        "WorkersMissing",
        f"{gauge(WORKERS, state=equals('missing'))} > 0",
        "5m",
        "critical",
        "{{ $value }} workers of the pool {{ $labels.pool }} are missing.",
    ),
    Alert(
        "WorkersKeepEnding",
        f"increase({counter(WORKER_ENDS)}[15m]) > 3",
        "0m",
        "warning",
        "Workers of the pool {{ $labels.pool }} keep ending.",
    ),
    Alert(
        "KafkaDisconnected",
        f"{gauge(KAFKA_CONNECTED)} == 0",
        "2m",
        "critical",
        "{{ $labels.instance }} can read no records from Kafka, or write no answers to it.",
    ),
    Alert(
        "KafkaRecordStuck",
        f"{gauge(KAFKA_OLDEST)} > 300",
        "1m",
        "warning",
        "A record of {{ $labels.topic }}/{{ $labels.partition }} has waited {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "KafkaLagHigh",
        f"{gauge(KAFKA_LAG)} > 10000",
        "15m",
        "warning",
        "{{ $value }} records of {{ $labels.topic }}/{{ $labels.partition }} wait to be answered.",
    ),
    Alert(
        "KafkaRecordsFail",
        f"{rate(KAFKA_ERRORS, 'topic', 'code', window=WINDOW)} > 0",
        "5m",
        "warning",
        "Records of {{ $labels.topic }} cannot be answered ({{ $labels.code }}).",
    ),
    Alert(
        "DataDrifts",
        f"{gauge(DRIFT_DETECTED)} == 1",
        "15m",
        "warning",
        "The {{ $labels.part }} of {{ $labels.model_name }} differ from its reference; "
        "GET /v2/models/{{ $labels.model_name }}/drift says how.",
    ),
    Alert(
        "DriftNotWatched",
        f"{rate(DRIFT_DROPPED, 'model_name', 'reason', window=WINDOW)} > 0",
        "15m",
        "warning",
        "Requests to {{ $labels.model_name }} are not watched for drift ({{ $labels.reason }}).",
    ),
)


def alerts() -> str:
    """Return a file of rules, as Prometheus reads it."""
    lines = ["groups:", "  - name: mlsrv", "    rules:"]
    for alert in ALERTS:
        lines += [
            f"      - alert: Mlsrv{alert.name}",
            f"        expr: {json.dumps(alert.expression)}",
            f"        for: {alert.lasting}",
            f"        labels: {{severity: {alert.severity}}}",
            f"        annotations: {{summary: {json.dumps(alert.summary)}}}",
        ]
    return "\n".join(lines)
