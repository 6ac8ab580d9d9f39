"""What the plugin offers, and to whom."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mlsrv.errors import MLSrvError
from mlsrv.testing import EchoModel, text_request

HTTP = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


async def test_a_model_is_served_where_opentelemetry_is_not_installed(
    kernel_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a worker whose environment is the model's."""
    kernel = kernel_of(m=EchoModel)
    scopes = kernel.catalog.scopes
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "mlsrv_opentelemetry.tracing", None)
        assert scopes(next(iter(await kernel.listing()))) is None
    (record,) = caplog.records
    assert record.message.startswith("The code of model m is not traced: import of mlsrv_opentelemetry")


async def test_a_missing_exporter_is_named(kernel_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, HTTP, None)
    async with kernel_of(m=EchoModel, settings={"tracing_protocol": "http/protobuf"}) as kernel:
        await kernel.loaded()
        with pytest.raises(MLSrvError, match=r"pip install \"mlsrv-opentelemetry\[http\]\""):
            await kernel.infer(text_request("m", ["a"]))


async def test_a_kernel_that_runs_again_traces_again(kernel_of: Any, collector: Any) -> None:
    kernel = kernel_of(m=EchoModel)
    for _ in range(2):
        async with kernel:
            await kernel.loaded()
            await kernel.infer(text_request("m", ["a"]))
    assert len(collector.named("infer m")) == len(collector.named("predict")) == 2
