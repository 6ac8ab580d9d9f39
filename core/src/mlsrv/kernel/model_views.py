"""Model views: the methods of a kernel that say which models there are, and how they are."""

from __future__ import annotations

from typing import Any

from mlsrv.controlplane.handle import ModelHandle
from mlsrv.controlplane.registry import Registry
from mlsrv_protocol.types import MetadataModelResponse, Parameters


class ModelViews:
    """Shows the models of a registry.

    Attributes:
        registry: the models.
    """

    registry: Registry

    def model_names(self) -> list[str]:
        """Return the names of all known models, sorted."""
        return self.registry.names()

    def handle(self, name: str, version: str | None = None) -> ModelHandle:
        """Return the handle of a model; without a version, of its default.

        Raises:
            ModelNotFound: the model or the version is unknown, or not loaded where the setting
                ``unloaded_models`` is "not_found".
            ServerNotReady: the server does not know yet which models there are.
        """
        return self.registry.shown(name, version or None)

    def model_ready(self, name: str, version: str | None = None) -> bool:
        """Return True if the model answers requests now. Raises as `handle`."""
        return self.handle(name, version).ready

    def model_metadata(self, name: str, version: str | None = None) -> MetadataModelResponse:
        """Return the metadata of a loaded model. Raises as `handle`, and `ModelNotReady`."""
        handle = self.handle(name, version)
        info = handle.loaded().placement.info
        loaded = [other.version for other in self.registry.versions(name) if other.instance and other.version]
        return MetadataModelResponse(
            name=name,
            platform=info.platform,
            versions=list(info.versions) or loaded,
            inputs=list(info.inputs),
            outputs=list(info.outputs),
            parameters=_with_verification(info.parameters, handle.verification),
        )

    def statistics(self, name: str | None = None, version: str | None = None) -> list[dict[str, Any]]:
        """Return statistics in the form of the statistics extension.

        They are of all models, of all versions of one, or of one version. Raises as `handle`.
        """
        if name is None:
            handles = list(self.registry)
        elif version is None:
            handles = self.registry.versions(name)
        else:
            handles = [self.handle(name, version)]
        return [handle.statistics_plain() for handle in handles]


def _with_verification(parameters: Parameters | None, found: str) -> Parameters | None:
    """Return a model's parameters with what a check of its files found, if there was one."""
    if not found:
        return parameters
    return Parameters(**({} if parameters is None else parameters.dict()) | {"verification": found})
