"""Kernels with keys, and requests for access to them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

import mlsrv_keys.plugin
from mlsrv import Kernel
from mlsrv.authorization import AccessRequest, Action, Principal

Ask = Callable[..., Any]


@pytest.fixture
def asking() -> Callable[..., AbstractAsyncContextManager[Ask]]:
    """Opens a kernel with settings; ``await ask(action, key, model=…)`` is the principal that it admits."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Ask]:
        async with Kernel(settings, plugins=[mlsrv_keys.plugin], discover=False) as kernel:

            async def ask(action: Action | None, key: str | None = None, **fields: Any) -> Principal:
                assert kernel.guard is not None
                headers = fields.pop("headers", {}) | ({"authorization": f"Bearer {key}"} if key else {})
                return await kernel.guard.admit(AccessRequest(action, headers, **fields))

            ask.kernel = kernel  # type: ignore[attr-defined]  # for the tests that look at it
            yield ask

    return opened
