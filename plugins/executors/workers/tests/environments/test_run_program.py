"""Programs: output, errors and cancellation."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlsrv_workers.environments.run_program import run_program


async def test_a_cancelled_program_ends_with_its_child_processes(
    tmp_path: Path, eventually: Any, ended: Any
) -> None:
    pid = tmp_path / "pid"
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
open({str(pid)!r}, "w").write(str(child.pid))
print("up", flush=True)
child.wait()
"""
    up = asyncio.Event()
    task = asyncio.create_task(run_program([sys.executable, "-c", code], lambda _: up.set()))
    await asyncio.wait_for(up.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: ended(int(pid.read_text())))


async def test_a_long_line_of_output_is_read() -> None:
    code = "print('x' * 2**20); print('y')"
    assert (await run_program([sys.executable, "-c", code])).endswith("x\ny")


async def test_a_program_and_its_children_end_with_the_server(
    tmp_path: Path, eventually: Any, ended: Any
) -> None:
    child = tmp_path / "child"
    program = f"sleep 600 & echo $! > {child}.tmp; mv {child}.tmp {child}; wait"
    code = (
        "import asyncio; from mlsrv_workers.environments.run_program import run_program;"
        f"asyncio.run(run_program(['sh', '-c', {program!r}]))"
    )
    server = subprocess.Popen([sys.executable, "-c", code])
    try:
        await eventually(child.exists)
    finally:
        server.kill()
        server.wait(10)
    await eventually(lambda: ended(int(child.read_text())))
