"""Repository: lists the models that can be loaded."""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from attrs import frozen

from mlsrv.settings import ModelSettings

__all__ = ["BrokenModel", "Listing", "ModelRepository", "VerifiedFolder"]


@frozen
class BrokenModel:
    """A model that the repository found but cannot describe; it shows up in the index with its reason.

    Attributes:
        name: its name as far as it is known, for example the folder's.
        source: the file that is wrong.
        reason: one sentence.
        version: its version, if it is known.
    """

    name: str
    source: str
    reason: str
    version: str | None = None


@frozen
class VerifiedFolder:
    """A copy of a model's folder that a plugin has checked; see the hook ``mlsrv_verified_folder``.

    Attributes:
        path: the copy.
        found: what the check found, a sentence for the operator and for clients, such as ``"signed by …"``.
    """

    path: Path
    found: str = ""


Listing: TypeAlias = "ModelSettings | BrokenModel"


class ModelRepository(ABC):
    """Lists the models that can be loaded. Custom repositories are named in
    ``model_repository_implementation``.

    Args:
        root: the setting ``model_repository_root``.
        args: the setting ``model_repository_implementation_args``.
    """

    def __init__(self, root: str, **args: Any) -> None:
        self.root = root

    @abstractmethod
    async def list(self) -> builtins.list[Listing]:
        """Return every model and version, read anew. It may be slow, but must not block the event loop."""

    async def find(self, name: str) -> builtins.list[Listing]:
        """Return every version of one model; an empty list if there is none."""
        return [found for found in await self.list() if found.name == name]

    async def stamps(self) -> Mapping[str, Hashable] | None:
        """Return a stamp for each model, which changes with it, for the setting ``model_repository_poll``.

        Returns:
            By the ``source`` of everything that `list` finds now, a value that differs as soon as its
            settings or its artifact do. It is asked for again and again, so it should be cheap. None, as
            here: this repository cannot be watched.
        """
        return None
