"""Check supervisor: watches the process that checks a plugin, and starts another when a case hangs or crashes
it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator

import attrs

from mlsrv.errors import ConfigurationError, MLSrvError
from mlsrv_cli.checking.check_request import CheckRequest
from mlsrv_testing.checks.findings import Findings
from mlsrv_testing.checks.report import Case

_COMMAND = (sys.executable, "-P", "-m", "mlsrv_cli.checking.child")
_ENDING_SECONDS = 5.0
_FRAMES = 8
"""Reported lines of the stack of one thread."""


def supervise(request: CheckRequest, findings: Findings) -> None:
    """Check a plugin in separate processes.

    A case that takes too long, or ends its process, has failed; the cases after it in its suite are not run,
    all others are.

    Args:
        request: what to check.
        findings: is told everything.

    Raises:
        MLSrvError: the check cannot be made.
    """
    why = _run(request, findings)
    while why is not None and findings.broke_off(why):
        why = _run(attrs.evolve(request, settled=findings.settled), findings)


def _run(request: CheckRequest, findings: Findings) -> str | None:
    """Run one process to its end; return the reason if it broke off, or None if it finished."""
    with _process() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:  # the end of the process is handled below
            pickle.dump(request, process.stdin)
        for line in process.stdout:
            event, *arguments = json.loads(line)
            if event == "done":
                return None
            if event in ("misconfigured", "failed"):
                raise (ConfigurationError if event == "misconfigured" else MLSrvError)(*arguments)
            if event == "ended":
                arguments[1] = Case(**arguments[1])
            getattr(findings, event)(*arguments)
        return _why(process.wait(), request)


@contextlib.contextmanager
def _process() -> Iterator[subprocess.Popen[bytes]]:
    # In a session of its own, the process can be ended together with its children.
    process = subprocess.Popen(
        _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDING_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]  # it is a pipe


def _why(code: int, request: CheckRequest) -> str:
    stacks = request.stacks.read_text(encoding="utf-8", errors="replace") if request.stacks.exists() else ""
    if re.search(r"^Timeout \(", stacks, re.MULTILINE):
        what = f"it did not end within {request.timeout:g} seconds"
    elif code < 0:
        what = f"it killed the process: {signal.Signals(-code).name}"
    else:
        what = f"it ended the process, with exit code {code}"
    places = "\n".join(_places(stacks))
    return f"{what}; it is at\n{places}" if places else what


def _places(stacks: str) -> list[str]:
    """Return the innermost stack frames of threads and coroutines, without the frames that called the plugin.

    Stacks that wait inside the standard library come last, because most of those are idle.
    """
    found = []
    for stack in re.split(r"^(?:Current thread|Thread|Coroutine).*\n", stacks, flags=re.MULTILINE)[1:]:
        frames = [line.strip() for line in stack.splitlines() if line.startswith("  File ")]
        callers = [at for at, frame in enumerate(frames) if re.search(r"[\\/](_pytest|pluggy)[\\/]", frame)]
        found.append(frames[: callers[0]] if callers else _without_pool(frames))
    found.sort(key=lambda frames: not frames or _in_library(frames[0]))
    return [f"  {line}" for frames in found for line in frames[:_FRAMES]]


def _in_library(frame: str) -> bool:
    return sysconfig.get_path("stdlib") in frame and "site-packages" not in frame


def _without_pool(frames: list[str]) -> list[str]:
    """Return the stack of a thread without the frames that start threads."""
    while frames and re.search(r"[\\/](threading|concurrent[\\/]futures[\\/]thread)\.py", frames[-1]):
        frames = frames[:-1]
    return frames
