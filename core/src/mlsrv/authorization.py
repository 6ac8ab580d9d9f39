"""Authorization: who asks for what, and with which rights.

An authorizer (see the hook ``mlsrv_authorize``) finds the principal of an access request; the guard of the
kernel compares its rights with the action. A transport asks the guard before it reads the body of a request::

    guard = self.kernel.guard
    if guard is not None:
        context.principal = await guard.admit(AccessRequest("infer", headers, model="iris"))

It leaves `AccessRequest.model` None where the body names the model: the kernel checks the model of each
inference, stream and custom handler against ``context.principal``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar, get_args

from attrs import define, field, frozen

from mlsrv.errors import PermissionDenied

__all__ = [
    "ACTIONS",
    "AccessRequest",
    "Action",
    "Authorizer",
    "Limits",
    "Principal",
    "action_of",
    "check_repository_api",
    "is_marked",
    "requires",
]

Action = Literal["infer", "metadata", "health", "repository", "metrics", "docs", "admin"]
"""What a client may do: ``infer`` (custom handlers and streams too), ``metadata`` (also configuration and
statistics), ``health``, ``repository`` (index, load, unload), ``metrics``, ``docs`` (also reflection), and
``admin`` for everything else."""

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_MARK: Final = "__mlsrv_action__"

_T = TypeVar("_T")


@define(slots=True, eq=False)
class AccessRequest:
    """One request of a client, as an authorizer is asked about it.

    Attributes:
        action: what the client wants to do; None for a path or a call that does not exist, which any known
            principal may find out.
        headers: of the request, names in lower case: over HTTP headers, over gRPC metadata. In a dictionary
            the credentials are replaced once the request is let in; a transport hands that on.
        model: the name of the model that it concerns; None if there is none, or the body has it.
        transport: the name of the transport.
        operation: what is called, for the log, for example ``"POST /v2/models/iris/infer"``.
        peer: the address of the client; empty if it is unknown.
        certificate: the subject of the client's certificate, which TLS has verified, by field
            (``{"commonName": "robot"}``); empty without one.
    """

    action: Action | None
    headers: Mapping[str, str] = field(default=_NO_HEADERS, repr=False)
    model: str | None = None
    transport: str = ""
    operation: str = ""
    peer: str = ""
    certificate: Mapping[str, str] = _NO_HEADERS


@frozen
class Limits:
    """Limits of a principal; None is no limit.

    Attributes:
        rate: requests of any kind per second, on average.
        burst: requests that may come at once; by default those of one second, and one at least.
        in_flight: requests to models that may be waiting or running at once.
        in_flight_bytes: bytes of data that these may have together.
        priority: the highest priority (OIP schedule policy, 1 is the highest) that its requests get; 0 is no
            limit.
    """

    rate: float | None = None
    burst: float | None = None
    in_flight: int | None = None
    in_flight_bytes: int | None = None
    priority: int = 0


@frozen(eq=False)
class Principal:
    """The client of a request, and what it may do.

    Attributes:
        name: for logs and metrics; an authorizer gives few different names.
        rights: for each action that is allowed, patterns of the names of models (``*`` and ``?`` are
            wildcards); those of an action that concerns no model need only be there. In a worker process they
            are empty.
        anonymous: whether the request had no credentials at all.
        limits: how much it may ask for.
    """

    name: str
    rights: Mapping[Action, Sequence[str]] = field(factory=dict, repr=False)
    anonymous: bool = False
    limits: Limits | None = None

    def allows(self, action: Action, model: str | None = None) -> bool:
        """Return whether it may do this, to this model; without one, to any."""
        patterns = self.rights.get(action, ())
        return "*" in patterns or any(model is None or _matches(pattern, model) for pattern in patterns)

    def check(self, action: Action, model: str | None = None) -> None:
        """Raise if it may not do this.

        Raises:
            PermissionDenied: it lacks the right, or has it for other models only.
        """
        if not self.allows(action, model):
            raise PermissionDenied.of(self.name, action, model)

    def visible(self, action: Action, models: Iterable[str]) -> list[str]:
        """Return those of the models to which it may do this, in their order."""
        return [model for model in models if self.allows(action, model)]


class Authorizer(ABC):
    """Finds the principal of each request. A server has one at most.

    Attributes:
        credential_headers: names, in lower case, of the headers that have the credentials of clients. Models
            and plugins get the name of the principal in their place (``"principal robot"``).
    """

    credential_headers: Collection[str] = frozenset()

    @abstractmethod
    async def authorize(self, access: AccessRequest) -> Principal:
        """Return who asks, and its rights, which the kernel compares with the action.

        Called for each request of every transport, before its body is read, on the event loop.

        Raises:
            Unauthenticated: the credentials are missing or wrong.
            PermissionDenied, RateLimited: an authorizer may decide more than who it is.
        """


def check_repository_api(allowed: str, *, changes: bool) -> None:
    """Raise if the setting ``repository_api`` forbids a call.

    Args:
        allowed: its value.
        changes: whether the call loads or unloads a model.

    Raises:
        PermissionDenied: it does.
    """
    if allowed == "off" or (allowed == "read" and changes):
        raise PermissionDenied(f'This server does not allow that: its repository_api is "{allowed}".')


def requires(action: Action | None) -> Any:
    """Mark an endpoint of a plugin (of REST, gRPC or another transport) with the action that it is.

    An endpoint without this mark is ``admin``: with an authorizer, only principals with that right reach it.

    Args:
        action: one of `ACTIONS`; None for what any known principal may do.

    Returns:
        A decorator for functions and methods; it also takes an object, such as a mounted application.

    Raises:
        ValueError: there is no such action.
    """
    if action is not None and action not in ACTIONS:
        raise ValueError(f"There is no action {action!r}; actions are {', '.join(ACTIONS)}.")

    def mark(endpoint: _T) -> _T:
        setattr(endpoint, _MARK, action)
        return endpoint

    return mark


def action_of(endpoint: object) -> Action | None:
    """Return the action that an endpoint is marked with; ``admin`` if it has no mark."""
    found: Action | None = getattr(endpoint, _MARK, "admin")
    return found


def is_marked(endpoint: object) -> bool:
    """Return whether an endpoint says which action it is; see `requires`."""
    return hasattr(endpoint, _MARK)


def _matches(pattern: str, model: str) -> bool:
    return pattern == model or _compiled(pattern).match(model) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
