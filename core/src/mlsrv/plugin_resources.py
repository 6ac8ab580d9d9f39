"""Plugin resources: objects that the hooks of a plugin share in one process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

from mlsrv_hosting_kit.threads import run_in_own_thread

__all__ = ["Closable", "Shared"]

logger = logging.getLogger("mlsrv.plugins")


class Closable(Protocol):
    """An object that is closed at the end."""

    def close(self) -> None:
        """End it. It may block, and is called in a thread of its own."""


_T = TypeVar("_T", bound=Closable)


class Shared:
    """Objects of plugins, one of each class: every kernel has such a collection, and every worker process."""

    def __init__(self) -> None:
        self._objects: dict[type[Closable], Closable] = {}

    def get(self, kind: type[_T], make: Callable[[], _T]) -> _T:
        """Return the object of a class, made when it is first asked for."""
        found = self._objects.get(kind)
        if not isinstance(found, kind):
            found = self._objects[kind] = make()
        return found

    async def close(self) -> None:
        """Close all, the latest first. Failures are logged. `get` makes a new object afterwards."""
        objects, self._objects = self._objects, {}
        for kind, found in reversed(objects.items()):
            try:
                await run_in_own_thread(found.close)
            except Exception:  # one plugin's failure at the end must not reach the others
                logger.exception("%s failed to close", kind.__qualname__)
