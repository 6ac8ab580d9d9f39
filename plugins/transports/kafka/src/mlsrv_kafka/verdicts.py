"""Verdicts: what an error means for the record that it was raised for."""

from __future__ import annotations

from enum import Enum, auto
from time import monotonic
from typing import Final

from mlsrv.context import CallContext
from mlsrv.errors import Code, MLSrvError, Overloaded

_FIRST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 1.0
_FIRST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 5.0


class Verdict(Enum):
    """The choice of what to do with a record that could not be answered."""

    WAIT = auto()
    """Try again, as often as it takes: the server cannot do it now."""
    RETRY = auto()
    """Try again, a few times: it may have been bad luck."""
    FAIL = auto()
    """Give it up: it would fail again."""


class Attempts:
    """The attempts to answer one record.

    Args:
        retries: further attempts after internal errors.
        not_ready_timeout: seconds to wait for a model that is not ready, or None.
    """

    def __init__(self, retries: int, not_ready_timeout: float | None) -> None:
        self._left = retries
        self._retry = _FIRST_RETRY
        self._wait = _FIRST_WAIT
        self._not_ready_timeout = not_ready_timeout
        self._not_ready_until: float | None = None

    def judge(self, error: MLSrvError, context: CallContext | None) -> tuple[Verdict, float]:
        """Return the verdict on an error, and the seconds to wait before the next attempt.

        Args:
            error: that was raised.
            context: of the request, if it was decoded.
        """
        code = error.code
        if context is not None and context.deadline is not None and monotonic() >= context.deadline:
            return Verdict.FAIL, 0.0
        if code is Code.OVERLOADED:
            limit = min(error.retry_after, _LONGEST_WAIT) if isinstance(error, Overloaded) else _LONGEST_WAIT
            return Verdict.WAIT, self._next_wait(limit)
        if code is Code.NOT_READY:
            return self._not_ready()
        # The deadline was not the client's, so it was that of the server: the model took too long.
        if code in (Code.INTERNAL, Code.CANCELLED, Code.DEADLINE_EXCEEDED) and self._left:
            self._left -= 1
            pause, self._retry = self._retry, min(4 * self._retry, _LONGEST_RETRY)
            return Verdict.RETRY, pause
        return Verdict.FAIL, 0.0

    def _not_ready(self) -> tuple[Verdict, float]:
        if self._not_ready_timeout is not None:
            now = monotonic()
            if self._not_ready_until is None:
                self._not_ready_until = now + self._not_ready_timeout
            if now >= self._not_ready_until:
                return Verdict.FAIL, 0.0
        return Verdict.WAIT, self._next_wait(_LONGEST_WAIT)

    def _next_wait(self, limit: float) -> float:
        pause, self._wait = min(self._wait, limit), min(2 * self._wait, _LONGEST_WAIT)
        return pause
