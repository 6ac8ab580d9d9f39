"""Other programs, run without blocking, and ended with what waits for them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from mlsrv.threads import run_in_own_thread

LAST_LINES = 12
"""How many lines of its output say why a program failed."""


async def output_of(
    command: Sequence[str],
    progress: Callable[[str], None] = lambda _: None,
    *,
    folder: Path | None = None,
    descriptors: Sequence[int] = (),
) -> str:
    """Run a program and return its last lines of output, standard error included.

    Args:
        command: the program and its arguments.
        progress: called with each line.
        folder: where it runs; None is the current one.
        descriptors: what it inherits.

    Raises:
        OSError: it cannot be started.
        ValueError: it fails; with its last lines, in one.
    """
    process = _start(command, folder, descriptors)
    loop = asyncio.get_running_loop()
    lines: deque[str] = deque(maxlen=LAST_LINES)

    def follow() -> int:
        with process:
            assert process.stdout is not None  # it was asked for
            for line in process.stdout:
                lines.append(line.rstrip())
                loop.call_soon_threadsafe(progress, lines[-1])
        return process.returncode

    try:
        status = await run_in_own_thread(follow)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with the programs that it started
            process.wait()
    if status:
        raise ValueError(f"{Path(command[0]).name} failed with exit code {status}: {_complaint(lines)}")
    return "\n".join(lines)


def _complaint(lines: Sequence[str]) -> str:
    """The lines from the first that speaks of an error; all if none does."""
    texts = [line.strip() for line in lines]
    first = next((at for at, text in enumerate(texts) if text.lower().startswith("error")), 0)
    return " | ".join(texts[first:])


def _start(command: Sequence[str], folder: Path | None, descriptors: Sequence[int]) -> subprocess.Popen[str]:
    """Not by the event loop: uvloop leaves to programs what is inheritable, such as sockets that listen."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        cwd=folder,
        pass_fds=descriptors,
        start_new_session=True,
    )
