"""Served repository: a repository with MLServer's types as one of mlsrv."""

from __future__ import annotations

import builtins
from typing import Any

from mlserver.errors import ModelNotFound
from mlserver.repository import ModelRepository

import mlsrv.repository as ours
from mlsrv.repository import Listing
from mlsrv_mlserver.settings import our_model_settings


def served_repository(theirs: type[ModelRepository]) -> type[ours.ModelRepository]:
    """Return the class of mlsrv that serves repositories of a class with MLServer's types."""

    class Served(ours.ModelRepository):
        __doc__ = theirs.__doc__

        def __init__(self, root: str, **args: Any) -> None:
            super().__init__(root)
            self._theirs = theirs(root, **args)

        async def list(self) -> builtins.list[Listing]:
            return [our_model_settings(found) for found in await self._theirs.list()]

        async def find(self, name: str) -> builtins.list[Listing]:
            try:
                return [our_model_settings(found) for found in await self._theirs.find(name)]
            except ModelNotFound:
                return []

    Served.__name__ = Served.__qualname__ = theirs.__name__
    return Served
