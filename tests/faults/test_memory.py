"""Memory of processes that host models, after reloads, unloads and failed requests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlsrv.errors import MLSrvError
from mlsrv.settings import ModelSettings
from mlsrv.testing import text_request

pytestmark = pytest.mark.timeout(60)

SOURCE = Path(__file__).parent / "model" / "model-settings.json"
COPY = 40 * 2**20  # more than 32 MiB, which the C library gives back at once


@pytest.mark.parametrize("workers", [0, 1])
async def test_reloads_keep_two_copies_of_a_model_at_most_and_one_afterwards(
    faults: Any, eventually: Callable[..., Any], workers: int
) -> None:
    model = ModelSettings("cyclic", "models.Cyclic", source=SOURCE)
    async with faults(model, parallel_workers=workers, load_models_at_startup=False) as it:
        await it.kernel.load("cyclic")
        response = await it.kernel.infer(text_request("cyclic", [""]))
        process = psutil.Process(int(response.outputs[0].data[0]))

        def copies() -> float:
            return (process.memory_info().rss - base) / COPY

        base = process.memory_info().rss - COPY
        seen = []
        for _ in range(8):
            await it.kernel.load("cyclic")
            seen.append(copies())
        assert max(seen) < 2.7, seen
        await eventually(lambda: copies() < 1.6, 5)
        await it.kernel.unload("cyclic")
        await eventually(lambda: copies() < 0.6, 5)


async def test_requests_that_fail_leave_no_memory_behind_in_a_worker(faults: Any) -> None:
    model = ModelSettings("evil", "models.Evil", source=SOURCE)
    async with faults(model, parallel_workers=1) as it:
        response = await it.kernel.infer(text_request("evil", [""]))
        process = psutil.Process(int(response.outputs[0].data[0]))
        base = process.memory_info().rss
        for _ in range(10):
            with pytest.raises(MLSrvError, match="bad input"):
                await it.kernel.infer(text_request("evil", [f"raise:{COPY}"]))
        assert process.memory_info().rss - base < 3.5 * COPY
