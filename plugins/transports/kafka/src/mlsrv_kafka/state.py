"""State: which topics are read, and how far, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from mlsrv_kafka.partition import Partition
from mlsrv_kafka.record_metrics import age_of

State: TypeAlias = dict[str, Any]


def state_of(partitions: Iterable[Partition], trouble: str | None) -> State:
    """Return the state of what is read.

    Args:
        partitions: that this server reads.
        trouble: why records cannot be read or answers not be written, or None.
    """
    topics: dict[str, list[State]] = {}
    for partition in sorted(partitions, key=lambda one: (one.topic, one.number)):
        topics.setdefault(partition.topic, []).append(
            {
                "partition": partition.number,
                "lag": partition.lag,
                "in_flight": partition.in_flight,
                "oldest_seconds": age_of(partition),
            }
        )
    return {
        "connected": trouble is None,
        "problem": trouble,
        "topics": [{"name": name, "partitions": found} for name, found in topics.items()],
    }


class Reader:
    """The transport as the rest of this plugin knows it; one for each kernel.

    Attributes:
        state: returns the present state; see `state_of`.
    """

    def __init__(self) -> None:
        self.state: Callable[[], State] = not_started

    def close(self) -> None:
        """The kernel has ended."""
        self.state = not_started


def not_started() -> State:
    """Return the state while the transport is not started."""
    return state_of([], "the transport is not started")
