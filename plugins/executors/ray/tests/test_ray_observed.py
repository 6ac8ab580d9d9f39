"""What the server knows of models on a cluster: metrics, log records, phases of requests."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ray_served import ask, serving, told

import mlsrv
import mlsrv_prometheus.plugin
from mlsrv.context import CallContext
from mlsrv.interceptor import Interceptor, Phase
from mlsrv.timeline import Timeline
from mlsrv.types import InferenceResponse
from mlsrv_prometheus import create_app
from mlsrv_ray.calls import dump_phases, load_phases

pytestmark = pytest.mark.timeout(180)

HOUR = 3600 * 10**9


async def scraped(kernel: Any, name: str) -> list[float]:
    """The values of a metric."""
    app: Any = httpx.ASGITransport(create_app(kernel))
    async with httpx.AsyncClient(transport=app, base_url="http://metrics") as client:
        text = (await client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return [sample.value for family in families for sample in family.samples if sample.name == name]


async def test_metrics_of_model_code_come_back_and_count_on(cluster: Any, tmp_path: Path) -> None:
    model = told(tmp_path, ray_replicas=2, ray_concurrency=1)
    async with serving(cluster["address"], model, plugins=[mlsrv_prometheus.plugin]) as kernel:
        await asyncio.gather(*(ask(kernel, "count") for _ in range(10)))
        await ask(kernel, "log 3")
        assert await scraped(kernel, "counted_total") == [10]
        await asyncio.gather(*(ask(kernel, "count") for _ in range(10)))
        await kernel.load("m")  # what was counted since the last scrape is not lost with the replicas
        await ask(kernel, "count")
        assert await scraped(kernel, "counted_total") == [21]
        assert await scraped(kernel, "counted_total") == [21]
        assert await scraped(kernel, "told_total") == [3]
        assert await scraped(kernel, "mlsrv_ray_replicas") == [2]


async def test_log_records_come_back_to_the_last(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(cluster["address"], told(tmp_path)) as kernel:
        await ask(kernel, "log 7")
    found = [record for record in caplog.records if record.name == "told"]
    assert [record.getMessage() for record in found] == ["told to log 7", "told to leave"]
    assert found[0].model == "m"  # type: ignore[attr-defined]  # a field of the project's records


class Observer(Interceptor):
    """Keeps the timeline of each request."""

    phase: ClassVar[Phase] = Phase.OBSERVE
    observes: ClassVar[bool] = True

    def __init__(self) -> None:
        self.seen: list[Timeline] = []

    async def __call__(self, request: Any, context: CallContext, call_next: Any) -> InferenceResponse:
        assert context.timeline is not None
        self.seen.append(context.timeline)
        found: InferenceResponse = await call_next(request, context)
        return found

    @mlsrv.hookimpl
    def mlsrv_interceptors(self) -> Interceptor:
        return self


async def test_phases_come_back_within_the_time_of_the_request(cluster: Any, tmp_path: Path) -> None:
    observer = Observer()
    async with serving(cluster["address"], told(tmp_path), plugins=[observer]) as kernel:
        began = time.monotonic_ns()
        await ask(kernel, "sleep 0.05")
        ended = time.monotonic_ns()
    (timeline,) = observer.seen
    assert timeline.durations()["predict"] >= 50 * 10**6
    assert all(began <= begin <= end <= ended for _, begin, end in timeline.spans)


def test_phases_of_a_machine_with_another_clock_are_moved_into_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = CallContext(timeline=Timeline()), CallContext(timeline=Timeline())
    assert here.timeline is not None
    assert there.timeline is not None
    there.timeline.add("predict", HOUR + 10, HOUR + 30)
    monkeypatch.setattr("mlsrv_ray.calls.time.monotonic_ns", lambda: HOUR + 40)
    plain = dump_phases(there, HOUR)
    monkeypatch.setattr("mlsrv_ray.calls.time.monotonic_ns", lambda: 160)
    load_phases(plain, here, 100)
    assert here.timeline.spans == [("predict", 120, 140)]
