"""Stalls: finds answers of which clients have read nothing for some time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

CHECKS = 12
"""Checks within the time that a client has."""

Stalled = Callable[[], Any]


class StallWatch:
    """Looks at what waits to be sent several times within the time limit, and ends what makes no progress.

    Args:
        seconds: without progress, after which an answer is given up.
        waiting: returns, for each thing that waits to be sent, the mark of its progress (any value that
            changes when some of it is sent) and the function that gives it up.
    """

    def __init__(
        self,
        seconds: float,
        waiting: Callable[[], Iterable[tuple[Hashable, object, Stalled]]],
    ) -> None:
        self._seconds = seconds
        self._waiting = waiting
        self._seen: Mapping[Hashable, tuple[object, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._timer = asyncio.get_running_loop().call_later(self._seconds / CHECKS, self._check)

    def stop(self) -> None:
        """End looking. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        now = asyncio.get_running_loop().time()
        seen: dict[Hashable, tuple[object, float]] = {}
        stalled: list[Stalled] = []
        for key, mark, give_up in self._waiting():
            mark_before, since = self._seen.get(key, (None, now))
            if mark_before != mark:
                since = now
            if now - since >= self._seconds * (1 - 0.5 / CHECKS):
                stalled.append(give_up)
            else:
                seen[key] = mark, since
        self._seen = seen
        self.start()
        for give_up in stalled:
            give_up()
