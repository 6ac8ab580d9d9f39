"""Records, and the small broker inside the client library. Real brokers are in ``tests/kafka``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mlsrv import Kernel, ModelSettings
from mlsrv.testing import EchoModel
from mlsrv_kafka.partition import Partition, Record
from mock_broker import Mock

SECONDS = 60
BODY = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1.0,2.0]}]}'


def make_record(
    value: bytes | None = BODY,
    key: bytes | None = None,
    offset: int = 0,
    partition: Partition | None = None,
    **headers: str | bytes,
) -> Record:
    """A record; keywords are headers, with ``_`` for ``-``."""
    given = [
        (name.replace("_", "-"), text.encode() if isinstance(text, str) else text)
        for name, text in headers.items()
    ]
    where = partition or Partition("in", 0)
    return Record(where, offset, key, value, given, 0, time.monotonic())  # type: ignore[arg-type]


@pytest.fixture
def record() -> Callable[..., Record]:
    return make_record


@pytest.fixture
def mock() -> Mock:
    return Mock()


@pytest.fixture
def serving() -> Any:
    """Serves models over Kafka alone."""

    @asynccontextmanager
    async def serve(
        settings: dict[str, Any], *models: ModelSettings, plugins: Sequence[object] = ()
    ) -> AsyncIterator[Kernel]:
        chosen = models or (ModelSettings(name="echo", implementation=EchoModel),)
        stop, listening = asyncio.Event(), asyncio.Event()
        others = ["rest", "grpc", "prometheus", "workers"]
        async with Kernel(settings, models=chosen, plugins=plugins, block=others) as kernel:
            await kernel.loaded()
            running = asyncio.create_task(kernel.serve(stop.wait, listening.set))
            waiting = asyncio.create_task(listening.wait())
            await asyncio.wait([running, waiting], timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            try:
                if running.done():
                    running.result()
                yield kernel
            finally:
                stop.set()
                await running

    return serve
