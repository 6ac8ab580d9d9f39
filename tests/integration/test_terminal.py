"""A server on a terminal that stops background processes which write to it."""

import json
import os
import pty
import select
import signal
import sys
import termios
import time
from pathlib import Path

import pytest

MODEL = """
from mlsrv import MLModel

class Printing(MLModel):
    async def load(self):
        print("printed by the model", flush=True)
        return True
"""


@pytest.mark.timeout(120)
def test_a_worker_may_print(tmp_path: Path) -> None:
    (tmp_path / "printing.py").write_text(MODEL, encoding="utf-8")
    model = {"name": "printing", "implementation": "printing.Printing"}
    (tmp_path / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    ports = {f"MLSRV_{name}_PORT": "0" for name in ("HTTP", "GRPC", "METRICS")}
    command = [sys.executable, "-m", "mlsrv_cli", "start", str(tmp_path)]
    pid, terminal = pty.fork()
    if pid == 0:
        attributes = termios.tcgetattr(0)
        attributes[3] |= termios.TOSTOP
        termios.tcsetattr(0, termios.TCSANOW, attributes)
        os.execve(
            sys.executable,
            command,
            {**os.environ, **ports, "MLSRV_HOST": "127.0.0.1", "MLSRV_PARALLEL_WORKERS": "1"},
        )
    try:
        _read(terminal, until=b"printed by the model")
    finally:
        os.kill(pid, signal.SIGINT)
        _read(terminal, until=b"Stopped")
        os.waitpid(pid, 0)
        os.close(terminal)


def _read(terminal: int, until: bytes) -> bytes:
    """Return what the terminal has shown up to some text, or to the end."""
    shown = b""
    deadline = time.monotonic() + 50
    while until not in shown and select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the end of a terminal on Linux
            break
    assert until in shown, shown
    return shown
