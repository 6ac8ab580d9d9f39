"""Schedule policy: the request parameters ``timeout`` and ``priority``. (Triton's extension of this name)."""

from __future__ import annotations

import time

from mlsrv.context import CallContext
from mlsrv.errors import InvalidPayload
from mlsrv_protocol.types import InferenceRequest


def apply_schedule(request: InferenceRequest, context: CallContext) -> None:
    """Take the deadline and the priority that a request asks for into its context.

    ``timeout`` is in microseconds from now, 0 for none; it may only shorten the deadline of the transport.
    ``priority`` is 0 for the default, 1 for the highest; a principal may have a lower limit.

    Raises:
        InvalidPayload: one of them is not a whole number from 0 up.
    """
    if request.parameters is None:
        return
    extra = request.parameters.extra
    if "timeout" in extra:
        timeout = _whole("timeout", extra["timeout"])
        if timeout:
            deadline = time.monotonic() + timeout / 1e6
            context.deadline = deadline if context.deadline is None else min(deadline, context.deadline)
    if "priority" in extra:
        context.priority = _whole("priority", extra["priority"])
        limits = context.principal.limits if context.principal is not None else None
        if limits is not None and context.priority:
            context.priority = max(context.priority, limits.priority)


def _whole(name: str, value: object) -> int:
    if type(value) is int and value >= 0:
        return value
    raise InvalidPayload(f"parameters.{name} is {str(value)[:60]!r}; it must be a whole number from 0 up.")
