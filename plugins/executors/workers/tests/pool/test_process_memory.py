"""Process memory: resident bytes of worker processes."""

import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlsrv import MeterOffer
from mlsrv.testing import MemoryMeter, Offering
from mlsrv_workers.pool.process_memory import resident_bytes

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@linux
async def test_each_pool_reports_the_resident_memory_of_its_workers(serve: Any, model: Any) -> None:
    meter = Offering(MeterOffer("memory", MemoryMeter), name="memory")
    models = [model("Chatty"), model("Chatty", "own", fields={"parallel_workers": 2})]
    async with serve(*models, plugins=[meter]) as kernel:
        memory: Any = kernel.meters["memory"]
        found = memory.read("mlsrv_worker_memory_bytes")
        # Tests before this one may have left processes of other programs.
        workers = [one for one in psutil.Process().children() if "boot.py" in " ".join(one.cmdline())]
        both = sum(process.memory_info().rss for process in workers)
    assert len(workers) == 3
    assert found.keys() == {("default",), ("model own",)}
    assert found["default",] < found["model own",], "one process, and two"
    assert sum(found.values()) == pytest.approx(both, rel=0.1)


@linux
def test_a_process_that_has_ended_counts_as_zero() -> None:
    alone = resident_bytes([os.getpid()])
    assert alone is not None
    assert alone > 2**20
    assert resident_bytes([2**22 + 1]) == 0, "Linux has no process ids that large"
    assert resident_bytes([os.getpid(), 2**22 + 1]) == pytest.approx(alone, rel=0.1)


def test_without_proc_the_result_is_none(tmp_path: Path) -> None:
    assert resident_bytes([os.getpid()], tmp_path) is None
