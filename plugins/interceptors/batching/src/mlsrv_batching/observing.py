"""What observers of requests hear of batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mlsrv.context import CallContext
from mlsrv.telemetry.meters import Meters
from mlsrv.timeline import Batch, Timeline
from mlsrv_batching.metrics import BATCH_QUEUE, BATCH_REQUESTS, BATCH_ROWS, BATCH_WAITING

_NAMED = 20
"""Members whose ids are in that of their batch."""


class BatchMeter:
    """Records the batches of one model.

    Attributes:
        came: told how many requests waited when one more came.
    """

    def __init__(self, meters: Meters, model: str, version: str | None) -> None:
        self._labels = (model, version or "")
        self._meters = meters
        self._requests = meters.bind(BATCH_REQUESTS, self._labels)
        self._rows = meters.bind(BATCH_ROWS, self._labels)
        self.came = meters.bind(BATCH_QUEUE, self._labels)

    def begin(self, members: Sequence[CallContext], since: Sequence[float], rows: int) -> None:
        """A batch begins; `since` (`time.monotonic`) its members have waited for it. Their timelines are
        told, too."""
        self._requests(float(len(members)))
        self._rows(float(rows))
        if not _observed(members):
            return
        now = time.monotonic_ns()
        batch = Batch(tuple(members), rows)
        for member, born in zip(members, since, strict=True):
            if member.timeline is not None:
                member.timeline.add("batch", int(born * 1e9), now)
                member.timeline.batches.append(batch)

    def watch(self, waiting: Callable[[], int]) -> Callable[[], None]:
        """Show how many requests wait now; calling the result ends that."""
        return self._meters.watch(BATCH_WAITING, lambda: [(self._labels, float(waiting()))])


def batch_context(members: Sequence[CallContext]) -> CallContext:
    """The context of a batch: as long as the most patient member waits, as urgent as the first one, and in
    its trace. Its id has those of its members in it, for what the model logs meanwhile is about them."""
    deadlines = [member.deadline for member in members]
    patient = None if None in deadlines else max(deadline for deadline in deadlines if deadline is not None)
    first = members[0]
    more = f",+{len(members) - _NAMED}" if len(members) > _NAMED else ""
    return CallContext(
        ",".join(member.request_id for member in members[:_NAMED]) + more,
        deadline=patient,
        priority=first.priority,
        transport=first.transport,
        trace=first.trace,
        links=members,
        timeline=Timeline() if _observed(members) else None,
    )


def note_end(batch: CallContext) -> None:
    """Whatever a batch spent its time on, each of its members did."""
    if batch.timeline is not None:
        for member in batch.links:
            if member.timeline is not None:
                member.timeline.extend(*batch.timeline.plain())


def _observed(contexts: Sequence[CallContext]) -> bool:
    return any(context.timeline is not None for context in contexts)
