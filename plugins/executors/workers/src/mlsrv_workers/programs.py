"""Other programs, run without blocking, and ended with what waits for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

LAST_LINES = 12
"""How many lines of its output say why a program failed."""


async def output_of(command: Sequence[str], progress: Callable[[str], None] = lambda _: None) -> str:
    """Run a program and return its last lines of output, standard error included.

    Args:
        command: the program and its arguments.
        progress: called with each line.

    Raises:
        OSError: it cannot be started.
        ValueError: it fails; with its last lines.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None  # it was asked for
    lines: deque[str] = deque(maxlen=LAST_LINES)
    try:
        async for raw in process.stdout:
            lines.append(raw.decode(errors="replace").rstrip())
            progress(lines[-1])
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise ValueError(f"{command[0]} failed with exit code {status}: {' | '.join(lines)}")
    return "\n".join(lines)
