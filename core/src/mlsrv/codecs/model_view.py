"""ModelView: a model as its codecs see it."""

from __future__ import annotations

from typing import Protocol

from mlsrv.codecs.registry import CodecRegistry
from mlsrv.settings import ModelSettings
from mlsrv_protocol.types import MetadataTensor


class ModelView(Protocol):
    """The members of `mlsrv.MLModel` that decide which codec applies."""

    @property
    def name(self) -> str:
        """The name of the model."""

    @property
    def version(self) -> str | None:
        """The version of the model, or None."""

    @property
    def settings(self) -> ModelSettings:
        """The settings of the model."""

    @property
    def inputs(self) -> list[MetadataTensor]:
        """The declared inputs."""

    @property
    def outputs(self) -> list[MetadataTensor]:
        """The declared outputs."""

    @property
    def codecs(self) -> CodecRegistry:
        """The codecs that the model may use."""
