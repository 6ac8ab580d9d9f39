"""Registry: the known models of a kernel, name -> versions -> handle."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlsrv.controlplane.handle import ModelHandle
from mlsrv.dataplane.instance import Instance
from mlsrv.errors import MLSrvError, ModelNotFound, ModelNotReady, ServerNotReady
from mlsrv.telemetry.error_details import ErrorDetails
from mlsrv_protocol.types import State


def version_key(version: str | None) -> tuple[bool, list[tuple[int, int, str]]]:
    """Orders versions: a model without one comes last (and so is the default), numbers inside count as
    numbers, so that ``v10`` follows ``v9``."""
    if version is None:
        return True, []
    return False, [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", version)
        if part
    ]


class Registry:
    """Handles by name and version, and a flat table of the instances that answer requests.

    Args:
        details: what clients are told of why a model failed.
        hides_unloaded: whether a model that is not loaded and need not be counts as unknown to clients.

    Attributes:
        live: the one lookup of the data plane: ``(name, version)``, and ``(name, None)`` for the default
            version.
        complete: whether every model that there is at the start has a handle; until then, a model without one
            is not unknown, only not found yet.
    """

    def __init__(self, details: ErrorDetails | None = None, hides_unloaded: bool = False) -> None:
        self.details = details or ErrorDetails()
        self._hides_unloaded = hides_unloaded
        self._models: dict[str, dict[str | None, ModelHandle]] = {}
        self.live: dict[tuple[str, str | None], Instance] = {}
        self.complete = False

    def __iter__(self) -> Iterator[ModelHandle]:
        """Every handle, by name and version."""
        for name in self.names():
            yield from self.versions(name)

    def names(self) -> list[str]:
        """Every known model, sorted."""
        return sorted(self._models)

    def versions(self, name: str) -> list[ModelHandle]:
        """The handles of a model, in the order of their versions.

        Raises:
            ModelNotFound: the model is unknown.
            ServerNotReady: the server does not know yet which models there are.
        """
        if name not in self._models:
            raise self._unknown(name, None)
        return sorted(self._models[name].values(), key=lambda handle: version_key(handle.version))

    def ensure(self, name: str, version: str | None) -> ModelHandle:
        """The handle of a model's version, made if it is new."""
        versions = self._models.setdefault(name, {})
        if version not in versions:
            versions[version] = ModelHandle(name, version, self.details)
        return versions[version]

    def forget(self, handle: ModelHandle) -> None:
        """Drop a handle that is not loaded."""
        versions = self._models.get(handle.name, {})
        if versions.get(handle.version) is handle:
            del versions[handle.version]
        if not versions:
            self._models.pop(handle.name, None)

    def handle(self, name: str, version: str | None = None) -> ModelHandle:
        """A handle; without a version the default: the last one that is live, else the last one.

        Raises:
            ModelNotFound: the model or the version is unknown.
            ServerNotReady: the server does not know yet which models there are.
        """
        versions = self.versions(name)
        if version is None:
            live = [handle for handle in versions if handle.instance is not None]
            return (live or versions)[-1]
        found = self._models[name].get(version)
        if found is None:
            raise self._unknown(name, version)
        return found

    def shown(self, name: str, version: str | None = None) -> ModelHandle:
        """The handle that a client asks for. Raises as `handle`; a hidden one counts as unknown."""
        handle = self.handle(name, version)
        if self._hides_unloaded and not handle.wanted and handle.state is State.UNAVAILABLE:
            raise ModelNotFound.of(name, version)
        return handle

    def why_not(self, name: str, version: str | None) -> MLSrvError:
        """The error for a request that `live` has no instance for."""
        try:
            handle = self.shown(name, version)
        except MLSrvError as error:
            return error
        return ModelNotReady.of(handle.name, handle.version, handle.state.value, handle.reason)

    def refresh(self, name: str) -> None:
        """Bring `live` up to date after a handle of this model changed."""
        for key in [key for key in self.live if key[0] == name]:
            del self.live[key]
        for handle in self.versions(name):
            if handle.instance is not None:
                self.live[name, handle.version] = handle.instance
                self.live[name, None] = handle.instance

    def clear(self) -> None:
        """Forget everything, before the server starts (again)."""
        self._models.clear()
        self.live.clear()
        self.complete = False

    def _unknown(self, name: str, version: str | None) -> MLSrvError:
        if self.complete:
            return ModelNotFound.of(name, version)
        return ServerNotReady("The server does not know its models yet; try again in a moment.")
