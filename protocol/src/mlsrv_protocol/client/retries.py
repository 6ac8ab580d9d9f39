"""Retries: repeat a call that failed where that is safe."""

import asyncio
import time
from typing import TypeVar

from mlsrv_protocol.client.calls import Call
from mlsrv_protocol.client.channel import Channel
from mlsrv_protocol.client.errors import ConnectionFailed, ServerError
from mlsrv_protocol.errors import Code

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_LONGEST_RETRY_AFTER = 5.0
_REFUSALS = (Code.OVERLOADED, Code.RATE_LIMITED)


class RetryPolicy:
    """The retries of one call: after a connection that could not be made, and after an overloaded server's
    refusal of a call that is safe to repeat. The pause doubles from 0.1 seconds; a server's `Retry-After`
    replaces it, up to 5 seconds.

    Args:
        retries: attempts after the first one.
        repeatable: see `Call`.
    """

    def __init__(self, retries: int, repeatable: bool) -> None:
        self._left = retries
        self._pause = _FIRST_PAUSE
        self._repeatable = repeatable

    def pause_after(self, error: Exception) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up."""
        refused = isinstance(error, ServerError) and error.code in _REFUSALS and self._repeatable
        if not self._left or not (refused or isinstance(error, ConnectionFailed)):
            return None
        self._left -= 1
        pause, self._pause = self._pause, self._pause * 2
        retry_after = error.retry_after if isinstance(error, ServerError) else None
        return pause if retry_after is None else min(retry_after, _LONGEST_RETRY_AFTER)


def run(channel: Channel, call: Call[T], retries: int) -> T:
    """Make a call, with at most `retries` further attempts, and wait for its result."""
    policy = RetryPolicy(retries, call.repeatable)
    while True:
        try:
            return channel.run(call)
        except (ServerError, ConnectionFailed) as error:
            pause = policy.pause_after(error)
            if pause is None:
                raise
        time.sleep(pause)


async def run_async(channel: Channel, call: Call[T], retries: int) -> T:
    """Make a call, with at most `retries` further attempts."""
    policy = RetryPolicy(retries, call.repeatable)
    while True:
        try:
            return await channel.run_async(call)
        except (ServerError, ConnectionFailed) as error:
            pause = policy.pause_after(error)
            if pause is None:
                raise
        await asyncio.sleep(pause)
