"""Process memory: the resident bytes of processes, read from Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def resident_bytes(pids: Iterable[int], proc: Path = PROC) -> int | None:
    """Return the resident bytes of some processes in total; shared pages count in each.

    A process that has ended counts as 0. Returns None where there is no /proc, as on macOS.
    """
    if not (proc / "self" / "statm").exists():
        return None
    return sum(_resident_pages(proc / str(pid) / "statm") for pid in pids) * os.sysconf("SC_PAGE_SIZE")


def _resident_pages(statm: Path) -> int:
    try:
        _, resident, *_ = statm.read_text(encoding="ascii").split()
    except OSError:  # the process has ended
        return 0
    return int(resident)
