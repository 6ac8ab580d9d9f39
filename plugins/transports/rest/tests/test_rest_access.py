"""The access log of requests over HTTP."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

TENSOR = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
def _loud(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlsrv")


def accesses(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name == "mlsrv.access"]


async def test_it_is_off_by_default(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as served:
        await served.client.get("/v2")
    assert accesses(caplog) == []


async def test_each_request_is_a_line(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    asked = json.dumps({"id": "r1"} | TENSOR)
    async with serve(access_log=True) as served:
        traced = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        await served.client.post("/v2/models/echo/infer", content=asked, headers=traced)
        await served.client.post("/v2/models/failing/infer_stream?secret=1", content=asked)
        await served.client.get("/v2/models/my%20%C3%A9")
        await served.client.get("/nowhere")
        await served.client.get("/v2/health/ready")
        await served.client.get("/v2/models/echo/ready")
    found = [(one.request, one.status, one.transport, one.client) for one in accesses(caplog)]
    assert found == [
        (request, status, "rest", "127.0.0.1")
        for request, status in (
            ("POST /v2/models/echo/infer", 200),
            ("POST /v2/models/failing/infer_stream", 500),
            ("GET /v2/models/my%20%C3%A9", 200),
            ("GET /nowhere", 404),
        )
    ]
    first, second, third, _ = accesses(caplog)
    assert (first.request_id, first.model, first.trace_id) == ("r1", "echo", TRACE)
    assert (second.request_id, second.model) == ("r1", "failing")
    assert not hasattr(third, "request_id")
    assert 0 < first.duration_ms < 60_000
