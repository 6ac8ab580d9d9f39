"""The dashboard and the alert rules: up to date, what Grafana reads, and about metrics that exist."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

import mlsrv_prometheus
from mlsrv import Kernel
from mlsrv.testing import tensor_request
from mlsrv_prometheus import names
from mlsrv_prometheus.__main__ import FILES, TEXTS, main
from mlsrv_prometheus.alerts import ALERTS
from mlsrv_prometheus.dashboard import ROWS
from mlsrv_prometheus.names import BATCH_ROWS, SUCCESS
from mlsrv_prometheus.queries import counter, equals, gauge, mean, quantile, rate
from mlsrv_protocol.json import encode_request
from mock_broker import Mock

PACKAGE = Path(mlsrv_prometheus.__file__).parent
README = PACKAGE.parent.parent / "README.md"
EXPRESSIONS = [
    *(expression for row in ROWS for panel in row.panels for expression, _ in panel.queries),
    *(alert.expression for alert in ALERTS),
]
LAST = ("mlsrv_kafka_errors_total", "mlsrv_drift_distance")
"""Metrics that are there once records and windows have been worked on."""

WORDS = {"sum", "by", "rate", "increase", "histogram_quantile", "le"}


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_up_to_date(name: str) -> None:
    written = (PACKAGE / FILES[name]).read_text(encoding="utf-8")
    assert written == TEXTS[name]() + "\n", "renew them: python -m mlsrv_prometheus renew"


def test_the_readme_has_the_table() -> None:
    text = README.read_text(encoding="utf-8").partition("<!-- metrics -->\n")[2].partition("<!-- end -->")[0]
    assert text == TEXTS["metrics"]() + "\n", "take it from: python -m mlsrv_prometheus metrics"


def test_grafana_reads_the_dashboard_without_loss() -> None:
    given = json.loads(TEXTS["dashboard"]())
    read = json.loads(json.dumps(Dashboard.from_json(given), cls=JSONEncoder))
    assert _missing(given, read) == []
    assert len(read["panels"]) == len(given["panels"]) >= 20


def _missing(given: Any, read: Any, path: str = "") -> list[str]:
    """Paths of what Grafana's model has no place for, or has changed."""
    if isinstance(given, dict) and isinstance(read, dict):
        return [
            problem
            for key, value in given.items()
            for problem in (
                _missing(value, read[key], f"{path}.{key}") if key in read else [f"{path}.{key} is unknown"]
            )
        ]
    if isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        return [
            p
            for index, pair in enumerate(zip(given, read, strict=True))
            for p in _missing(*pair, f"{path}[{index}]")
        ]
    return [] if given == read else [f"{path}: {given} became {read}"]


def test_every_panel_has_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    numbers = set()
    for panel in json.loads(TEXTS["dashboard"]())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        numbers.add(panel["id"])
    assert len(numbers) == len(json.loads(TEXTS["dashboard"]())["panels"])


def send_records(broker: Mock) -> None:
    """Send one request that is answered and one whose model fails."""
    requests = [tensor_request("m", np.array([value], np.float32)) for value in (1.0, -1.0)]
    broker.send(*map(encode_request, requests), mlsrv_model="m")


async def test_every_expression_names_metrics_and_labels_that_exist(
    serve: Any, model: Any, tmp_path: Path
) -> None:
    batched = {"max_batch_size": 4, "max_batch_time": 0.01, "cache_enabled": True}
    watched = {"drift_enabled": True, "drift_learn": 2, "drift_window": 2}
    broker = Mock()
    await asyncio.to_thread(send_records, broker)
    settings = broker.settings(cache_enabled=True, parallel_workers=1, drift_dir=str(tmp_path / "drift"))
    async with serve(model(fields=batched | watched), **settings) as served:
        for value in (1.0, 1.0, -1.0):
            request = tensor_request("m", np.array([value], np.float32))
            await served.post(request)
            await served.call(request)
        async with asyncio.timeout(60):
            while not all(map((found := await served.scrape()).series, LAST)):
                await asyncio.sleep(0.1)
    seen = {
        sample.name: set(sample.labels) for family in found.families.values() for sample in family.samples
    }
    for expression in EXPRESSIONS:
        for name, selected in re.findall(
            r"([a-z][a-z_]{5,})(?:\{([^}]*)\})?(?=\[| |$|\))", _unquoted(expression)
        ):
            if name in WORDS or name in {label for labels in seen.values() for label in labels}:
                continue
            assert name in seen, f"{expression} names {name}"
            assert set(re.findall(r"(\w+)=", selected)) <= seen[name], expression
        for grouped in re.findall(r"sum by \(([^)]*)\) \((?:rate\()?([a-z_]+)", expression):
            assert set(grouped[0].split(", ")) <= seen[grouped[1]], expression


def test_every_name_is_a_metric_that_a_plugin_lists_of_that_kind() -> None:
    known = {metric.name: metric for metric in Kernel().plugins.metrics()}
    suffixes = {"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_sum", "_count"}}
    whole = "\n".join(_unquoted(expression) for expression in EXPRESSIONS)
    named = [value for name, value in vars(names).items() if name.isupper()]
    assert len(named) >= 20
    for name in named:
        found = re.findall(rf"\b{name}(_total|_bucket|_sum|_count|)(?:\{{([^}}]*)\}})?(?![\w])", whole)
        assert found, f"no expression is about {name}"
        assert {suffix for suffix, _ in found} <= suffixes[known[name].kind], name
        for _, selected in found:
            assert set(re.findall(r"(\w+)=", selected)) <= set(known[name].labels), name


def _unquoted(expression: str) -> str:
    return re.sub(r'"[^"]*"', '""', expression)


def test_the_rules_are_what_prometheus_reads() -> None:
    (group,) = yaml.safe_load(TEXTS["alerts"]())["groups"]
    assert [rule["expr"] for rule in group["rules"]] == [alert.expression for alert in ALERTS]
    assert {rule["labels"]["severity"] for rule in group["rules"]} == {"warning", "critical"}
    assert all(rule["alert"].startswith("Mlsrv") for rule in group["rules"])


def test_queries() -> None:
    assert gauge("mlsrv_workers") == "mlsrv_workers"
    assert counter(SUCCESS, model=equals("m")) == 'model_infer_request_success_total{model="m"}'
    assert (
        rate(SUCCESS, "model", window="1m") == "sum by (model) (rate(model_infer_request_success_total[1m]))"
    )
    assert "sum by (le, model_name) (rate(mlsrv_batch_rows_bucket[" in quantile(0.5, BATCH_ROWS, "model_name")
    assert mean(BATCH_ROWS, "model_name").count("mlsrv_batch_rows_") == 2


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for name in TEXTS:
        done = subprocess.run(
            [sys.executable, "-m", "mlsrv_prometheus", name], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stdout) == (0, TEXTS[name]() + "\n")
    assert main([]) == 2
    assert main(["nonsense"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")
    assert all(f"`{metric.name}" in TEXTS["metrics"]() for metric in Kernel().plugins.metrics())
