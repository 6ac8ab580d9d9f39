"""What a scrape says is what the clients counted: over every way in, with any number of workers."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from mlsrv.testing import tensor_request

MODEL = {"model_name": "m", "model_version": ""}
INFER = {"model": "m", "version": ""}


def asking(value: float, name: str = "m") -> Any:
    return tensor_request(name, np.array([value], np.float32))


@pytest.mark.parametrize("workers", [0, 1, 2])
async def test_the_numbers_are_those_of_the_clients(serve: Any, model: Any, workers: int) -> None:
    prices = [0.5, 5.0, 5.0, 50.0, 500.0]
    async with serve(model(), parallel_workers=workers) as served:
        statuses = Counter(await asyncio.gather(*(served.post(asking(price)) for price in [*prices, -1.0])))
        codes = Counter(
            await asyncio.gather(*(served.call(asking(price)) for price in [*prices, -1.0, -1.0]))
        )
        unknown = await served.post(asking(1.0, "nobody-1")), await served.call(asking(1.0, "nobody-2"))
        found = await served.scrape()
    assert (statuses, codes) == ({200: 5, 500: 1}, {"OK": 5, "INTERNAL": 2})
    assert unknown == (404, "NOT_FOUND")
    assert found.value("model_infer_request_success_total", **INFER) == 10
    assert found.value("model_infer_request_failure_total", **INFER) == 3
    assert found.value("model_infer_request_duration_count", **INFER) == 13
    for phase in ("queue", "decode", "predict"):
        assert found.value("mlsrv_phase_seconds_count", **MODEL, phase=phase) == 13, phase
    assert found.value("mlsrv_requests_rejected_total", **MODEL, reason="internal") == 3
    assert found.value("mlsrv_requests_rejected_total", model_name="", reason="not_found") == 2
    assert found.value("mlsrv_request_payload_bytes_sum", **MODEL) == 13 * 4
    assert found.value("mlsrv_requests_in_flight", **MODEL) == 0
    rest = {"method": "POST", "path": "/v2/models/{model}/infer", "app_name": "mlsrv"}
    for status, count in (("200", 5), ("500", 1), ("404", 1)):
        assert found.value("rest_server_requests_total", **rest, status_code=status) == count
        assert found.value("rest_server_request_duration_seconds_count", **rest, status_code=status) == count
    infer = {
        "grpc_type": "UNARY",
        "grpc_method": "ModelInfer",
        "grpc_service": "inference.GRPCInferenceService",
    }
    assert found.value("grpc_server_started_total", **infer) == 8
    for code, count in (("OK", 5), ("INTERNAL", 2), ("NOT_FOUND", 1)):
        assert found.value("grpc_server_handled_total", **infer, grpc_code=code) == count
    assert found.value("grpc_server_handling_seconds_count", **infer) == 8
    # Of the model's own code:
    assert found.value("orders_total", **MODEL) == 10
    assert found.value("price_count", **MODEL) == 10
    assert found.value("price_sum", **MODEL) == 2 * sum(prices)
    assert [found.value("price_bucket", **MODEL, le=edge) for edge in ("1.0", "10.0", "100.0", "+Inf")] == [
        2,
        6,
        8,
        10,
    ]
    assert -found.value("stock", **MODEL) in prices
    assert found.families["surprise"].type == "histogram"
    assert found.value("surprise_sum", **MODEL) == 25
    # Of the process:
    assert found.value("process_cpu_seconds_total") > 0
    assert found.value("python_info") == 1
    assert not any(
        "nobody" in label
        for name in found.families
        for labels, _ in _all(found, name)
        for label in labels.values()
    )


def _all(found: Any, family: str) -> list[tuple[dict[str, str], float]]:
    return [(sample.labels, sample.value) for sample in found.families[family].samples]


async def test_a_worker_that_is_killed_takes_no_numbers_along(serve: Any, model: Any) -> None:
    async with serve(model(), parallel_workers=2) as served:
        for _ in range(4):
            assert await served.post(asking(1.0)) == 200
        assert await served.post(asking(-2.0)) == 500
        deadline = time.monotonic() + 30
        while (found := await served.scrape()).value("mlsrv_workers", pool="default", state="alive") != 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        while served.kernel.problems():
            await asyncio.sleep(0.02)
        for _ in range(3):
            assert await served.post(asking(1.0)) == 200
        found = await served.scrape()
        assert found.value("model_infer_request_success_total", **INFER) == 7
        assert found.value("model_infer_request_failure_total", **INFER) == 1
        assert found.value("orders_total", **MODEL) == 7
        assert found.value("mlsrv_worker_unexpected_ends_total", pool="default") == 1
        assert found.value("mlsrv_workers", pool="default", state="missing") == 0
        assert found.value("parallel_request_queue_count") == 8


async def test_batches_and_caches(serve: Any, model: Any) -> None:
    batched = model(name="m", fields={"max_batch_size": 8, "max_batch_time": 0.01})
    cached = model(name="c", fields={"cache_enabled": True})
    async with serve(batched, cached, cache_enabled=True) as served:
        assert set(await asyncio.gather(*(served.post(asking(1.0)) for _ in range(20)))) == {200}
        for _ in range(3):
            assert await served.call(asking(1.0, "c")) == "OK"
        found = await served.scrape()
    assert found.value("mlsrv_batch_requests_sum", **MODEL) == 20
    assert found.value("mlsrv_batch_rows_sum", **MODEL) == 20
    assert found.value("mlsrv_phase_seconds_count", **MODEL, phase="batch") == 20
    assert found.value("mlsrv_batch_queue", **MODEL) == 0
    assert found.series("batch_request_queue_count", **MODEL)
    cached_labels = {"model_name": "c", "model_version": ""}
    assert found.value("mlsrv_cache_hits_total", **cached_labels) == 2
    assert found.value("mlsrv_cache_misses_total", **cached_labels) == 1
    assert found.value("model_infer_request_success_total", model="c") == 3
    assert found.value("orders_total", **cached_labels) == 1


async def test_a_version_is_the_one_that_answers_over_every_way_in(serve: Any, model: Any) -> None:
    async with serve(model(version="v2")) as served:
        assert await served.post(asking(1.0)) == 200
        assert await served.post(asking(1.0), "v2") == 200
        assert await served.call(asking(1.0)) == "OK"
        found = await served.scrape()
    assert found.series("model_infer_request_success_total") == [({"model": "m", "version": "v2"}, 3.0)]


async def test_calls_that_are_aborted_count_with_their_code(serve: Any, model: Any) -> None:
    async with serve(model(), parallel_workers=1, worker_concurrency=1) as served:
        (pid,) = served.kernel._executors["workers"].pids
        os.kill(pid, signal.SIGSTOP)
        try:
            assert await served.call(asking(1.0), timeout=0.2) == "DEADLINE_EXCEEDED"
            task = asyncio.create_task(served.call(asking(1.0)))
            while (await served.scrape()).value("mlsrv_requests_in_flight", **MODEL) == 0:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait({task})
            deadline = time.monotonic() + 10
            while (found := await served.scrape()).value("grpc_server_handled_total") < 2:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
        finally:
            os.kill(pid, signal.SIGCONT)
    codes = {labels["grpc_code"]: value for labels, value in found.series("grpc_server_handled_total")}
    assert codes == {"DEADLINE_EXCEEDED": 1, "CANCELLED": 1}
    reasons = {labels["reason"]: value for labels, value in found.series("mlsrv_requests_rejected_total")}
    assert reasons == {"deadline_exceeded": 1, "cancelled": 1}


async def test_unknown_paths_and_methods_make_no_series(serve: Any, model: Any) -> None:
    async with serve(model()) as served:
        for number in range(5):
            await served.client.get(f"{served.rest}/no/{number}")
            await served.client.request(f"ODD{number}", f"{served.rest}/v2")
            await served.client.get(f"{served.rest}/v2/models/nobody-{number}")
        await served.client.get(f"{served.rest}/v2/health/live")
        await served.client.get(f"{served.rest}/v2/models/m")
        found = await served.scrape()
    series = [
        tuple(labels[key] for key in ("method", "path", "status_code"))
        for labels, _ in found.series("rest_server_requests_total")
    ]
    assert sorted(series) == [("GET", "/v2/models/{model}", "200"), ("GET", "/v2/models/{model}", "404")]


async def test_states_of_models_and_their_reload(serve: Any, model: Any) -> None:
    async with serve(model(), model(name="gone")) as served:
        await served.post(asking(1.0))
        await served.kernel.load("m")
        await served.post(asking(1.0))
        await served.kernel.unload("gone")
        found = await served.scrape()
    states = {
        (labels["model_name"], labels["state"])
        for labels, value in found.series("mlsrv_model_state")
        if value
    }
    assert states == {("m", "READY"), ("gone", "UNAVAILABLE")}
    assert found.value("orders_total", **MODEL) == 2


async def test_every_name_is_in_the_table(serve: Any, model: Any) -> None:
    async with serve(model(), parallel_workers=1) as served:
        await served.post(asking(1.0))
        await served.call(asking(1.0))
        found = await served.scrape()
        own = {metric.name for metric in served.kernel.plugins.metrics()}
    user = {"orders", "price", "stock", "surprise"}
    others = {name for name in found.families if not name.startswith(("process_", "python_"))} - user
    assert others <= own
    assert len(others) >= 18


async def test_a_program_that_the_server_starts_does_not_hold_the_port(serve: Any, model: Any) -> None:
    async with serve(model()) as served:
        await served.scrape()
        port = int(served.metrics.split(":")[2].partition("/")[0])
        command = [sys.executable, "-c", "input()"]
        program = subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False)
    with program:
        try:
            async with serve(model(), metrics_port=port) as served:
                await served.scrape()
        finally:
            program.kill()
