"""Limits: how much one batch may have, in rows and in tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mlsrv_protocol.types import InferenceRequest

logger = logging.getLogger("mlsrv.batching")

Cost = Callable[[InferenceRequest], int]
"""Returns the tokens of a request."""


class Limits:
    """Bounds of one batch.

    Args:
        rows: limit of the rows.
        tokens: limit of the tokens; 0 for any number.
        cost: counts the tokens of a request; None if there is no limit.
    """

    def __init__(self, rows: int, tokens: int = 0, cost: Cost | None = None) -> None:
        self.rows = rows
        self.tokens = tokens if cost is not None else 0
        self._cost = cost
        self._has_warned = False

    def tokens_of(self, request: InferenceRequest) -> int:
        """Return the tokens of a request; 0 without a limit, 1 if they cannot be counted."""
        if not self.tokens or self._cost is None:
            return 0
        try:
            return self._cost(request)
        except Exception:  # of a plugin
            if not self._has_warned:
                self._has_warned = True
                logger.exception("The tokens of a request could not be counted; it counts as one token")
            return 1

    def are_full(self, rows: int, tokens: int) -> bool:
        """Return whether nothing more fits into a batch of so much."""
        return rows >= self.rows or (self.tokens > 0 and tokens >= self.tokens)

    def take(self, rows: int, tokens: int) -> bool:
        """Return whether a batch may have so much."""
        return rows <= self.rows and (not self.tokens or tokens <= self.tokens)
