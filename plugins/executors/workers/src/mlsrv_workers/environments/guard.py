"""Guard: runs a program and ends it with the server, ``python guard.py PIPE PROGRAM ARGUMENTS…``.

The server holds the other end of the pipe. When that end is closed, because the server has ended in whatever
way, the guard kills its process group, to which the programs belong that the program has started. It needs
nothing but the standard library.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> None:
    """Run the program, and end with its exit code."""
    pipe = int(sys.argv[1])
    os.set_inheritable(pipe, False)
    threading.Thread(target=_kill_with_server, args=(pipe,), daemon=True).start()
    status = subprocess.run(sys.argv[2:], close_fds=False, check=False).returncode
    os._exit(status if status >= 0 else 128 - status)


def _kill_with_server(pipe: int) -> None:
    os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
