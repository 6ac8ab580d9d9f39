"""What observers of requests hear of batches."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mlsrv.context import CallContext
from mlsrv.timeline import Batch, Timeline


def batch_context(members: Sequence[CallContext]) -> CallContext:
    """The context of a batch: as long as the most patient member waits, as urgent as the first one, and in
    its trace."""
    deadlines = [member.deadline for member in members]
    patient = None if None in deadlines else max(deadline for deadline in deadlines if deadline is not None)
    first = members[0]
    return CallContext(
        deadline=patient,
        priority=first.priority,
        transport=first.transport,
        trace=first.trace,
        links=members,
        timeline=Timeline() if _observed(members) else None,
    )


def note_begin(members: Sequence[CallContext], since: Sequence[float], rows: int) -> None:
    """Tell the timelines of the members of a batch that it begins, and since when (`time.monotonic`) each of
    them waited for it."""
    if not _observed(members):
        return
    now = time.monotonic_ns()
    batch = Batch(tuple(members), rows)
    for member, born in zip(members, since, strict=True):
        if member.timeline is not None:
            member.timeline.add("batch", int(born * 1e9), now)
            member.timeline.batches.append(batch)


def note_end(batch: CallContext) -> None:
    """Whatever a batch spent its time on, each of its members did."""
    if batch.timeline is not None:
        for member in batch.links:
            if member.timeline is not None:
                member.timeline.extend(*batch.timeline.plain())


def _observed(contexts: Sequence[CallContext]) -> bool:
    return any(context.timeline is not None for context in contexts)
