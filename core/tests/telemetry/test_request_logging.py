"""Request logging: fields of log records, and the one record of a failed request."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mlsrv import CallContext, Kernel, MLModel, ModelSettings
from mlsrv.errors import InferenceError, MLSrvError, Overloaded
from mlsrv.handlers import custom_handler
from mlsrv.telemetry.request_logging import current_fields, fields_of, report, trace_id_of
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "mlsrv.requests"]


def traceback_of(record: logging.LogRecord) -> str:
    assert record.exc_info
    return logging.Formatter().formatException(record.exc_info)


def test_the_fields_are_those_that_are_known() -> None:
    assert fields_of(CallContext("r1")) == {"request_id": "r1"}
    trace = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    context = CallContext("r1", trace=trace, model="m", version="v1", worker=2)
    assert fields_of(context) == {
        "request_id": "r1",
        "trace_id": TRACE,
        "model": "m",
        "version": "v1",
        "worker": 2,
    }


@pytest.mark.parametrize(
    ("traceparent", "expected"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-00", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-of-a-later-version", TRACE),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}", None),
        ('"\n', None),
        ("", None),
    ],
)
def test_a_trace_id_is_taken_from_a_valid_header_only(traceparent: str, expected: str | None) -> None:
    assert trace_id_of(CallContext(trace={"traceparent": traceparent})) == expected


class Talkative(MLModel):
    """Keeps what a log record of each of its methods would say."""

    seen: list[dict[str, Any]]

    async def load(self) -> bool:
        Talkative.seen = [current_fields()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        Talkative.seen.append(current_fields())
        return InferenceResponse(outputs=[])

    @custom_handler("/tell")
    def tell(self) -> None:
        Talkative.seen.append(current_fields())

    async def unload(self) -> bool:
        Talkative.seen.append(current_fields())
        return True


async def test_log_records_of_model_code_have_the_fields_of_its_request() -> None:
    model = ModelSettings(name="m", implementation=Talkative, parameters={"version": "v1"})
    async with Kernel(models=[model], discover=False) as kernel:
        await kernel.loaded()
        await kernel.infer(text_request("m", ["a"]), CallContext("r1"))
        await kernel.call("m", None, "tell", {}, CallContext("r2"))
        assert current_fields() == {}
    this = {"model": "m", "version": "v1"}
    assert Talkative.seen == [this, {"request_id": "r1", **this}, {"request_id": "r2", **this}, this]


class Failing(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise ValueError("the day is bad")

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[Any]:
        yield InferenceResponse(outputs=[])
        raise ValueError("the day is bad")

    @custom_handler("/fail")
    def fail(self) -> None:
        raise ValueError("the day is bad")


async def test_a_failed_request_leaves_one_record(caplog: pytest.LogCaptureFixture) -> None:
    model = ModelSettings(name="m", implementation=Failing, parameters={"version": "v1"})
    async with Kernel(models=[model], discover=False) as kernel:
        await kernel.loaded()
        request = text_request("m", ["a"])
        with pytest.raises(MLSrvError) as caught:
            await kernel.infer(request, one := CallContext("r1"))
        with pytest.raises(MLSrvError):
            async for _ in kernel.stream(request, CallContext("r2")):
                pass
        with pytest.raises(MLSrvError):
            await kernel.call("m", None, "fail", {}, CallContext("r3"))
        report(caught.value, one)  # a transport does not know what the kernel has said
    records = failures(caplog)
    assert [record.getMessage() for record in records] == [
        f"Request {name} failed: Model m with version v1 failed: ValueError: the day is bad"
        for name in ("r1", "r2", "r3")
    ]
    for record in records:
        assert record.levelno == logging.ERROR
        assert (record.__dict__["model"], record.__dict__["version"]) == ("m", "v1")
        # It ends with the model's own code, and does not go on with the way of the error through the server.
        assert 'raise ValueError("the day is bad")' in traceback_of(record).splitlines()[-2]


@pytest.mark.parametrize("error", [InferenceError("x must be positive"), Overloaded("too many")])
def test_a_refused_request_is_logged_on_debug_level_only(
    error: MLSrvError, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        report(error, CallContext("r1"))
    assert failures(caplog) == []
    with caplog.at_level(logging.DEBUG):
        report(error, CallContext("r2"))
    (record,) = failures(caplog)
    assert record.getMessage() == f"Request r2 was refused: {error}"


def test_an_id_cannot_forge_lines(caplog: pytest.LogCaptureFixture) -> None:
    report(KeyError("x"), CallContext("r1\n2026-01-01 ERROR all is lost"))
    (record,) = failures(caplog)
    assert len(record.getMessage().splitlines()) == 1
    assert record.__dict__["request_id"].startswith("r1\n")
