"""Health: whether partitions can be read, and since when not."""

from __future__ import annotations

import logging
from time import monotonic

logger = logging.getLogger("mlsrv.kafka")


class Health:
    """Keeps what the consumer has learned. One thread tells, any thread asks.

    A member of the group that has no partition, because there are more members than partitions, is healthy.

    Attributes:
        brokers_down: whether no broker can be reached.
        unusable_since: `time.monotonic` seconds since which nothing can be read, or None.
        reason: why, in words.
    """

    def __init__(self) -> None:
        self.brokers_down = False
        self.unusable_since: float | None = monotonic()
        self.reason = "the group has not been joined yet"
        self._last = ""

    def reached(self) -> None:
        """A broker has answered."""
        if self.unusable_since is None:
            return
        if self.brokers_down:
            logger.info("The brokers can be reached again")
        self.brokers_down, self.unusable_since = False, None

    def lost_brokers(self, servers: str) -> None:
        """No broker can be reached."""
        if not self.brokers_down:
            logger.warning("No broker of %s can be reached", servers)
        self.brokers_down = True
        self.unusable(f"no broker of {servers} can be reached")

    def unusable(self, reason: str) -> None:
        """Nothing can be read."""
        self.unusable_since = self.unusable_since or monotonic()
        self.reason = reason

    def heard(self, problem: str) -> None:
        """The client library tells of a problem, which mostly passes; the same one is logged once."""
        if problem != self._last:
            self._last = problem
            logger.info("The client library says: %s", problem)
        if self.unusable_since is not None:
            self.reason = problem
