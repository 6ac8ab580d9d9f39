"""What processes have in memory, as Linux tells it; elsewhere nobody does without a library."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROCESSES = Path("/proc")


def resident_bytes(pids: Iterable[int], processes: Path = PROCESSES) -> int | None:
    """Bytes that processes have resident now, in all; pages that they share count in each. One that has ended
    meanwhile has none. None where there is no /proc, as on macOS."""
    if not (processes / "self" / "statm").exists():
        return None
    return sum(_resident_pages(processes / str(pid) / "statm") for pid in pids) * os.sysconf("SC_PAGE_SIZE")


def _resident_pages(statm: Path) -> int:
    try:
        _, resident, *_ = statm.read_text(encoding="ascii").split()
    except OSError:  # it has ended
        return 0
    return int(resident)
