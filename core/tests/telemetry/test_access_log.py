"""The access log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from mlsrv import CallContext, Kernel
from mlsrv.kernel_api import Access
from mlsrv.telemetry.access_log import LIMIT, AccessLog


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "mlsrv.access"]


async def test_a_line_has_client_request_status_and_duration(caplog: pytest.LogCaptureFixture) -> None:
    context = CallContext("r1", model="m", version="v1", worker=2)
    with caplog.at_level(logging.INFO, "mlsrv"):
        async with AccessLog() as log:
            log.note(Access("rest", "POST /v2", 200, 0.0123456, "10.0.0.7", context, time=1000.25))
            log.note(Access("rest", "GET /v2/health/live", 200, 0.001, quiet=True))
            log.note(Access("grpc", "/x\nforged", "OK", 0.0))
    assert lines(caplog) == ["10.0.0.7 POST /v2 200 12.346 ms", r"- '/x\nforged' OK 0.0 ms"]
    record = caplog.records[0]
    assert (record.created, record.levelname) == (1000.25, "INFO")
    said = {
        name: record.__dict__[name] for name in ("transport", "client", "request", "status", "duration_ms")
    }
    assert said == {
        "transport": "rest",
        "client": "10.0.0.7",
        "request": "POST /v2",
        "status": 200,
        "duration_ms": 12.346,
    }
    about = {name: record.__dict__[name] for name in ("request_id", "model", "version", "worker")}
    assert about == {"request_id": "r1", "model": "m", "version": "v1", "worker": 2}


async def test_health_checks_are_logged_on_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "mlsrv"):
        async with AccessLog() as log:
            log.note(Access("rest", "GET /v2/health/live", 200, 0.001, quiet=True))
    assert lines(caplog) == ["- GET /v2/health/live 200 1.0 ms"]


class Slow(logging.Handler):
    """Writes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.begun.set()
        assert self.go_on.wait(20)
        self.written.append(record.getMessage())


@pytest.fixture
def slow(caplog: pytest.LogCaptureFixture) -> Iterator[Slow]:
    """It takes the lines of the access log."""
    handler, logger = Slow(), logging.getLogger("mlsrv.access")
    caplog.set_level(logging.INFO, "mlsrv")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def test_lines_over_the_limit_are_dropped_and_counted(slow: Slow) -> None:
    async with AccessLog() as log:
        log.note(Access("rest", "first", 200, 0.0))
        assert slow.begun.wait(20)
        for _ in range(LIMIT + 7):  # returns at once, though nothing is written
            log.note(Access("rest", "next", 200, 0.0))
        assert log.dropped == 7
        slow.go_on.set()
    dropped = "The access log dropped 7 lines: they come faster than they are written"
    assert slow.written.count(dropped) == 1
    assert len(slow.written) == LIMIT + 2


async def test_a_kernel_has_an_access_log_only_if_the_setting_is_on() -> None:
    async with Kernel(discover=False) as kernel:
        assert kernel.access is None
    kernel = Kernel({"access_log": True}, discover=False)
    async with kernel:
        assert kernel.access is not None
        assert any(thread.name == "mlsrv-access-log" for thread in threading.enumerate())
    assert kernel.access is None
    assert not any(thread.name == "mlsrv-access-log" for thread in threading.enumerate())
