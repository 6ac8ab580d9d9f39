"""Programs: run without blocking the event loop, and killed with the call that waits for them."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import which

from mlsrv.threads import run_in_own_thread
from mlsrv_workers.environments import guard

LAST_LINES = 12
"""Number of output lines that are kept."""


async def run_program(
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
        folder: its working directory; None is the current one.
        descriptors: descriptors that it inherits.

    Raises:
        OSError: it cannot be started.
        ValueError: it fails; with its last lines, joined into one.
    """
    process, pipe = _start(command, folder, descriptors)
    loop = asyncio.get_running_loop()
    lines: deque[str] = deque(maxlen=LAST_LINES)

    def read_output() -> int:
        with process:
            assert process.stdout is not None  # stdout is a pipe
            for line in process.stdout:
                lines.append(line.rstrip())
                loop.call_soon_threadsafe(progress, lines[-1])
        return process.returncode

    try:
        status = await run_in_own_thread(read_output)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # the whole process group
            process.wait()
        os.close(pipe)
    if status:
        raise ValueError(f"{Path(command[0]).name} failed with exit code {status}: {_error_lines(lines)}")
    return "\n".join(lines)


def _error_lines(lines: Sequence[str]) -> str:
    """Return the lines from the first that begins with "error", joined; all lines if none does."""
    texts = [line.strip() for line in lines]
    first = next((at for at, text in enumerate(texts) if text.lower().startswith("error")), 0)
    return " | ".join(texts[first:])


def _start(
    command: Sequence[str], folder: Path | None, descriptors: Sequence[int]
) -> tuple[subprocess.Popen[str], int]:
    """Start a program without the event loop; return it, and a descriptor whose closing kills it.

    uvloop lets programs inherit every inheritable descriptor, such as listening sockets.
    """
    if which(command[0]) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    guarded, pipe = os.pipe()
    try:
        return _popen(command, folder, [*descriptors, guarded], guarded), pipe
    except BaseException:
        os.close(pipe)
        raise
    finally:
        os.close(guarded)


def _popen(
    command: Sequence[str], folder: Path | None, descriptors: Sequence[int], guarded: int
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(guarded), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        cwd=folder,
        pass_fds=descriptors,
        start_new_session=True,
    )
