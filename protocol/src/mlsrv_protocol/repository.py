"""Model repository: the messages of the extension, under MLServer's names.

Source: Triton's "Model Repository Extension".
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any, Self

from attrs import define, field
from attrs.setters import NO_OP

from mlsrv_protocol.converters import to_list
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.message import Message
from mlsrv_protocol.parsing import parse_array, parse_object, parse_optional_text, parse_text
from mlsrv_protocol.quoting import clip


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
class RepositoryIndexRequest(Message):
    """A request for the models of the repository; with `ready=True`, for those that are ready."""

    ready: bool | None = None

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        ready = parse_object(obj, "The body").get("ready")
        if ready is None or type(ready) is bool:
            return cls(ready)
        raise InvalidPayload(f"ready is {clip(ready)}; it must be true or false.")


@define(on_setattr=NO_OP)
class RepositoryIndexResponseItem(Message):
    """One version of one model; `reason` says why it is not ready."""

    name: str
    state: State = field(converter=State)
    version: str | None = None
    reason: str = ""

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        fields = parse_object(obj, "The model")
        return cls(
            parse_text(fields.get("name"), "name"),
            _parse_state(fields.get("state")),
            parse_optional_text(fields.get("version"), "version"),
            parse_optional_text(fields.get("reason"), "reason") or "",
        )


def _to_items(
    values: Iterable[RepositoryIndexResponseItem | dict[str, Any]],
) -> list[RepositoryIndexResponseItem]:
    return to_list(RepositoryIndexResponseItem, values)


@define(on_setattr=NO_OP)
class RepositoryIndexResponse(Message):
    """The models of the repository; its JSON form is the array of its items."""

    items: list[RepositoryIndexResponseItem] = field(factory=list, converter=_to_items)

    def to_plain(self) -> list[RepositoryIndexResponseItem]:
        """Return the JSON form, an array."""
        return self.items

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`; the plain form is a list."""
        return cls([RepositoryIndexResponseItem.parse_obj(item) for item in parse_array(obj, "The index")])


@define(on_setattr=NO_OP)
class RepositoryLoadErrorResponse(Message):
    """The body of a failed load."""

    error: str | None = None

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        return cls(parse_optional_text(parse_object(obj, "The body").get("error"), "error"))


@define(on_setattr=NO_OP)
class RepositoryUnloadErrorResponse(Message):
    """The body of a failed unload."""

    error: str | None = None

    @classmethod
    def parse_obj(cls, obj: Any) -> Self:
        """See `Message.parse_obj`."""
        return cls(parse_optional_text(parse_object(obj, "The body").get("error"), "error"))


def _parse_state(value: object) -> State:
    for state in State:
        if state.value == value:
            return state
    raise InvalidPayload(f"state is {clip(value)}; it is one of {', '.join(State)}.")
