"""The model repository extension. Source: Triton's "Model Repository Extension", with MLServer's names for the messages."""

from collections.abc import Iterable
from enum import Enum
from typing import Any

from attrs import define, field
from attrs.setters import NO_OP

from mlsrv_protocol.messages import to_list


class State(str, Enum):
    """The state of a model in the repository."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"

    def __str__(self) -> str:
        return self.value


@define(on_setattr=NO_OP)
class RepositoryIndexRequest:
    """Asks for the models of the repository; `ready=True` for those alone that can serve now."""

    ready: bool | None = None


@define(on_setattr=NO_OP)
class RepositoryIndexResponseItem:
    """One version of one model; `reason` says why it is not ready."""

    name: str
    state: State = field(converter=State)
    version: str | None = None
    reason: str = ""


def _items(
    values: Iterable[RepositoryIndexResponseItem | dict[str, Any]],
) -> list[RepositoryIndexResponseItem]:
    return to_list(RepositoryIndexResponseItem, values)


@define(on_setattr=NO_OP)
class RepositoryIndexResponse:
    """The models of the repository; on the wire it is a bare array of its items."""

    items: list[RepositoryIndexResponseItem] = field(factory=list, converter=_items)


@define(on_setattr=NO_OP)
class RepositoryLoadErrorResponse:
    """Why a model could not be loaded."""

    error: str | None = None


@define(on_setattr=NO_OP)
class RepositoryUnloadErrorResponse:
    """Why a model could not be unloaded."""

    error: str | None = None
