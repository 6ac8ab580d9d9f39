"""Dashboard for Grafana."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen

from mlsrv_prometheus.names import (
    BATCH_QUEUE,
    BATCH_ROWS,
    BATCH_WAITING,
    CACHE_HITS,
    CACHE_MISSES,
    DRIFT_DETECTED,
    DRIFT_DISTANCE,
    DRIFT_DROPPED,
    DRIFT_ROWS,
    DRIFT_SHARE,
    DURATION,
    FAILURE,
    GRPC_HANDLED,
    GRPC_SECONDS,
    IN_FLIGHT,
    KAFKA_ERRORS,
    KAFKA_IN_FLIGHT,
    KAFKA_LAG,
    KAFKA_OLDEST,
    KAFKA_RECORDS,
    KAFKA_RETRIES,
    KAFKA_SECONDS,
    MODEL_STATE,
    PHASE,
    REJECTED,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    REST_IN_PROGRESS,
    REST_REQUESTS,
    REST_SECONDS,
    SUCCESS,
    WORKER_ENDS,
    WORKER_MEMORY,
    WORKER_WAITING,
    WORKERS,
)
from mlsrv_prometheus.queries import equals, gauge, matches, mean, quantile, rate

SCHEMA = 36
WIDTH, HEIGHT = 8, 8
COLUMNS = 3
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

_INFER = {"model": matches("$model")}
_MODEL = {"model_name": matches("$model")}
_HITS = rate(CACHE_HITS, "model_name", **_MODEL)
_MISSES = rate(CACHE_MISSES, "model_name", **_MODEL)


@frozen
class Panel:
    """One graph.

    Attributes:
        title, unit: as Grafana shows and calls them.
        queries: pairs of an expression and the legend of its lines.
        stacked: whether the lines add up.
    """

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    stacked: bool = False


@frozen
class Row:
    """Panels that belong together."""

    title: str
    panels: Sequence[Panel] = field(factory=list)


ROWS = (
    Row(
        "Requests",
        [
            Panel(
                "Requests by model",
                "reqps",
                [(rate(SUCCESS, "model", "version", **_INFER), "{{model}} {{version}}")],
            ),
            Panel(
                "Failed requests",
                "reqps",
                [
                    (rate(FAILURE, "model", "version", **_INFER), "{{model}} {{version}}"),
                    (rate(REJECTED, "reason", model_name=equals("")), "unknown model, {{reason}}"),
                ],
            ),
            Panel(
                "Errors by reason",
                "reqps",
                [(rate(REJECTED, "model_name", "reason", **_MODEL), "{{model_name}} {{reason}}")],
            ),
            Panel(
                "Latency",
                "s",
                [
                    (quantile(which, DURATION, "model", **_INFER), f"{{{{model}}}} p{round(which * 100)}")
                    for which in (0.5, 0.95, 0.99)
                ],
            ),
            Panel(
                "Where the time goes (mean)",
                "s",
                [(mean(PHASE, "phase", **_MODEL), "{{phase}}")],
                stacked=True,
            ),
            Panel(
                "In flight",
                "short",
                [(gauge(IN_FLIGHT, **_MODEL), "{{model_name}} {{model_version}}")],
                stacked=True,
            ),
        ],
    ),
    Row(
        "Waiting, batches, caches",
        [
            Panel(
                "Time in queues (p95)",
                "s",
                [
                    (
                        quantile(0.95, PHASE, "model_name", "phase", **_MODEL, phase=matches("queue|batch")),
                        "{{model_name}} {{phase}}",
                    )
                ],
            ),
            Panel(
                "Rows in a batch (mean)",
                "short",
                [(mean(BATCH_ROWS, "model_name", **_MODEL), "{{model_name}}")],
            ),
            Panel(
                "Requests that wait",
                "short",
                [
                    (gauge(BATCH_WAITING, **_MODEL), "{{model_name}}, to be batched"),
                    (
                        quantile(0.95, BATCH_QUEUE, "model_name", **_MODEL),
                        "{{model_name}}, when one comes (p95)",
                    ),
                    (gauge(WORKER_WAITING), "pool {{pool}}"),
                ],
            ),
            Panel(
                "Answers from the cache",
                "percentunit",
                [(f"{_HITS} / ({_HITS} + {_MISSES})", "{{model_name}}")],
            ),
            Panel(
                "Payload of a request (p95)",
                "bytes",
                [
                    (quantile(0.95, REQUEST_BYTES, "model_name", **_MODEL), "{{model_name}}, in"),
                    (quantile(0.95, RESPONSE_BYTES, "model_name", **_MODEL), "{{model_name}}, out"),
                ],
            ),
        ],
    ),
    Row(
        "Models and workers",
        [
            Panel(
                "Models by state",
                "short",
                [(f"sum by (state) ({gauge(MODEL_STATE)})", "{{state}}")],
                stacked=True,
            ),
            Panel("Workers", "short", [(gauge(WORKERS), "{{pool}} {{state}}")], stacked=True),
            Panel("Workers that ended", "short", [(rate(WORKER_ENDS, "pool"), "{{pool}}")]),
            Panel(
                "Memory of the server",
                "bytes",
                [
                    ("process_resident_memory_bytes", "{{instance}}"),
                    (gauge(WORKER_MEMORY), "{{instance}}, pool {{pool}}"),
                ],
                stacked=True,
            ),
            Panel(
                "CPU of the server",
                "percentunit",
                [("rate(process_cpu_seconds_total[$__rate_interval])", "{{instance}}")],
            ),
        ],
    ),
    Row(
        "REST and gRPC",
        [
            Panel(
                "HTTP requests",
                "reqps",
                [(rate(REST_REQUESTS, "path", "status_code"), "{{path}} {{status_code}}")],
            ),
            Panel("HTTP latency (p95)", "s", [(quantile(0.95, REST_SECONDS, "path"), "{{path}}")]),
            Panel(
                "HTTP requests in progress", "short", [(gauge(REST_IN_PROGRESS), "{{method}}")], stacked=True
            ),
            Panel(
                "gRPC calls",
                "reqps",
                [(rate(GRPC_HANDLED, "grpc_method", "grpc_code"), "{{grpc_method}} {{grpc_code}}")],
            ),
            Panel(
                "gRPC latency (p95)", "s", [(quantile(0.95, GRPC_SECONDS, "grpc_method"), "{{grpc_method}}")]
            ),
        ],
    ),
    Row(
        "Kafka",
        [
            Panel("Records", "reqps", [(rate(KAFKA_RECORDS, "topic", "outcome"), "{{topic}} {{outcome}}")]),
            Panel("Lag", "short", [(gauge(KAFKA_LAG), "{{topic}}/{{partition}}")]),
            Panel(
                "Age of the oldest unfinished record",
                "s",
                [(gauge(KAFKA_OLDEST), "{{topic}}/{{partition}}")],
            ),
            Panel(
                "Records in flight",
                "short",
                [(gauge(KAFKA_IN_FLIGHT), "{{topic}}/{{partition}}")],
                stacked=True,
            ),
            Panel(
                "Errors and retries by code",
                "reqps",
                [
                    (rate(KAFKA_ERRORS, "topic", "code"), "{{topic}} {{code}}"),
                    (rate(KAFKA_RETRIES, "topic", "code"), "{{topic}} {{code}}, tried again"),
                ],
            ),
            Panel("Time to an answer (p95)", "s", [(quantile(0.95, KAFKA_SECONDS, "topic"), "{{topic}}")]),
        ],
    ),
    Row(
        "Drift",
        [
            Panel(
                "Latest window drifted",
                "bool_yes_no",
                [(gauge(DRIFT_DETECTED, **_MODEL), "{{model_name}} {{model_version}} {{part}}")],
            ),
            Panel(
                "Features that drifted",
                "percentunit",
                [(gauge(DRIFT_SHARE, **_MODEL), "{{model_name}} {{model_version}} {{part}}")],
            ),
            Panel(
                "Stability index",
                "short",
                [
                    (
                        gauge(DRIFT_DISTANCE, **_MODEL, statistic=equals("psi")),
                        "{{model_name}} {{part}} {{feature}}",
                    )
                ],
            ),
            Panel(
                "Rows looked at, requests dropped",
                "reqps",
                [
                    (rate(DRIFT_ROWS, "model_name", **_MODEL), "{{model_name}}"),
                    (rate(DRIFT_DROPPED, "model_name", "reason", **_MODEL), "{{model_name}}, {{reason}}"),
                ],
            ),
        ],
    ),
)


def dashboard() -> str:
    """Return the dashboard as Grafana imports it."""
    return json.dumps(
        {
            "uid": "mlsrv",
            "title": "mlsrv",
            "tags": ["mlsrv"],
            "timezone": "browser",
            "editable": True,
            "schemaVersion": SCHEMA,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": [_source_variable(), _model_variable()]},
            "panels": _panels(),
        },
        indent=1,
        ensure_ascii=False,
    )


def _panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    top = 0
    for row in ROWS:
        place = {"x": 0, "y": top, "w": WIDTH * COLUMNS, "h": 1}
        made.append(
            {
                "type": "row",
                "id": len(made) + 1,
                "title": row.title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        top += 1
        for index, panel in enumerate(row.panels):
            line, column = divmod(index, COLUMNS)
            place = {"x": column * WIDTH, "y": top + line * HEIGHT, "w": WIDTH, "h": HEIGHT}
            made.append(_panel(panel, len(made) + 1, place))
        top += HEIGHT * -(-len(row.panels) // COLUMNS)
    return made


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    custom = {
        "fillOpacity": 20 if panel.stacked else 0,
        "stacking": {"mode": "normal" if panel.stacked else "none"},
    }
    return {
        "type": "timeseries",
        "id": number,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _source_variable() -> dict[str, Any]:
    return {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"}


def _model_variable() -> dict[str, Any]:
    return {
        "type": "query",
        "name": "model",
        "label": "Model",
        "datasource": SOURCE,
        "query": f"label_values({gauge(MODEL_STATE)}, model_name)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }
