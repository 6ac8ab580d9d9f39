"""Foreign: the meaning of variables that were written for another server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from attrs import field, frozen


@frozen
class ForeignEnvironment:
    """The meaning of variables of another server.

    Attributes:
        variables: those of mlsrv, with their values; a variable that the environment has itself counts more.
        read: the names of the foreign variables that were read, or left out on purpose.
        defaults: server settings by key, where no source at all sets them.
    """

    variables: Mapping[str, str] = field(factory=dict)
    read: Collection[str] = ()
    defaults: Mapping[str, Any] = field(factory=dict)
