"""Observing: metrics and timelines of batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mlsrv.context import Batch, CallContext
from mlsrv.kernel_api import Metrics
from mlsrv.timeline import Timeline
from mlsrv_batching.metrics import BATCH_QUEUE, BATCH_REQUESTS, BATCH_ROWS, BATCH_WAITING

_MAX_IDS = 20
"""Number of members whose ids are part of their batch's id."""


class BatchMeter:
    """Records the batches of one model.

    Attributes:
        enqueued: called with the number of waiting requests at each new one.
    """

    def __init__(self, meters: Metrics, model: str, version: str | None) -> None:
        self._labels = (model, version or "")
        self._meters = meters
        self._requests = meters.bind(BATCH_REQUESTS, self._labels)
        self._rows = meters.bind(BATCH_ROWS, self._labels)
        self.enqueued = meters.bind(BATCH_QUEUE, self._labels)

    def begin(self, members: Sequence[CallContext], since: Sequence[float], rows: int) -> None:
        """Record the start of a batch in metrics and in the timelines and contexts of its members.

        Args:
            members: contexts of the requests.
            since: the time of arrival of each member, from `time.monotonic`.
            rows: rows of the batch.
        """
        self._requests(float(len(members)))
        self._rows(float(rows))
        if not _observed(members):
            return
        now = time.monotonic_ns()
        batch = Batch(tuple(members), rows)
        for member, arrived_at in zip(members, since, strict=True):
            if member.timeline is not None:
                member.timeline.add("batch", int(arrived_at * 1e9), now)
                member.batches = (*member.batches, batch)

    def show_waiting(self, waiting: Callable[[], int]) -> Callable[[], None]:
        """Show the number of waiting requests as a gauge. Returns a function that removes the gauge."""
        return self._meters.observe_gauge(BATCH_WAITING, lambda: [(self._labels, float(waiting()))])


def batch_context(members: Sequence[CallContext]) -> CallContext:
    """Return the context of a batch.

    It has the latest deadline of its members, and the priority and the trace of the first. Its id consists of
    its members' ids, because log records of the model concern all of them.
    """
    deadlines = [member.deadline for member in members]
    latest = None if None in deadlines else max(deadline for deadline in deadlines if deadline is not None)
    first = members[0]
    rest = f",+{len(members) - _MAX_IDS}" if len(members) > _MAX_IDS else ""
    return CallContext(
        ",".join(member.request_id for member in members[:_MAX_IDS]) + rest,
        deadline=latest,
        priority=first.priority,
        transport=first.transport,
        trace=first.trace,
        links=members,
        timeline=Timeline() if _observed(members) else None,
    )


def copy_spans_to_members(batch: CallContext) -> None:
    """Add the spans of a batch to the timeline of each of its members."""
    if batch.timeline is not None:
        spans, sums = batch.timeline.plain()
        for member in batch.links:
            if member.timeline is not None:
                member.timeline.extend(spans, sums)


def _observed(contexts: Sequence[CallContext]) -> bool:
    return any(context.timeline is not None for context in contexts)
