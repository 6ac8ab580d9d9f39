"""Calls: of methods of models, whether they are coroutine functions or plain ones."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any


async def called(method: Callable[..., Any], *arguments: Any) -> Any:
    """Call a method of a model: a coroutine function on the loop, a plain function in a thread."""
    if inspect.iscoroutinefunction(method):
        return await method(*arguments)
    found = await asyncio.to_thread(method, *arguments)
    return await found if isinstance(found, Awaitable) else found
