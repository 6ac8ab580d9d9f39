"""Model repository: the messages of the repository API, as pydantic models."""

from __future__ import annotations

from enum import Enum

from pydantic import RootModel

from mlserver.types.base import BaseModel

__all__ = [
    "RepositoryIndexRequest",
    "RepositoryIndexResponse",
    "RepositoryIndexResponseItem",
    "RepositoryLoadErrorResponse",
    "RepositoryUnloadErrorResponse",
    "State",
]


class RepositoryIndexRequest(BaseModel):
    """A request for a list of models."""

    ready: bool | None = None


class State(Enum):
    """The states of a model. Messages hold their values, which are texts."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


class RepositoryIndexResponseItem(BaseModel):
    """One version of one model."""

    name: str
    version: str | None = None
    state: State
    reason: str


class RepositoryIndexResponse(RootModel[list[RepositoryIndexResponseItem]]):
    """All models, as a list."""


class RepositoryLoadErrorResponse(BaseModel):
    """The body of a failure."""

    error: str | None = None


class RepositoryUnloadErrorResponse(BaseModel):
    """The body of a failure."""

    error: str | None = None
