"""A collector, and kernels that send their spans to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import mlsrv_opentelemetry.plugin
from collector import Collector, grpc_collector
from mlsrv import Kernel, ModelSettings


@pytest.fixture
def collector() -> Iterator[Collector]:
    with grpc_collector() as running:
        yield running


@pytest.fixture
def kernel_of(collector: Collector) -> Any:
    """Makes a kernel with models (classes or settings by name). It traces to the collector unless a setting
    says otherwise."""

    def make(*plugins: object, settings: dict[str, Any] | None = None, **models: Any) -> Kernel:
        return Kernel(
            {"tracing_server": collector.url} | (settings or {}),
            plugins=[mlsrv_opentelemetry.plugin, *plugins],
            models=[
                cls if isinstance(cls, ModelSettings) else ModelSettings(name=name, implementation=cls)
                for name, cls in models.items()
            ],
            discover=False,
        )

    return make
