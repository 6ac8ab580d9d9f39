"""Executor: places models in this process, in worker processes or in a cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from mlsrv.kernel_api import KernelAPI
from mlsrv.placement import ModelInfo, Placement
from mlsrv.settings import ModelSettings

__all__ = ["Executor", "ModelInfo", "Placement"]


class Executor(ABC):
    """Places models. The kernel makes one instance per boot and enters it as an async context manager."""

    priority: ClassVar[int] = 0
    """Among the executors that claim a model, the one with the highest priority gets it; ``inline`` has
    -100."""

    def __init__(self, kernel: KernelAPI) -> None:
        self.kernel = kernel

    async def __aenter__(self) -> Executor:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    @abstractmethod
    def claims(self, model: ModelSettings) -> bool:
        """Return whether this model should run here."""

    @abstractmethod
    async def load(self, model: ModelSettings) -> Placement:
        """Load the model and return where it is. Raises an `MLSrvError`; then nothing is left behind."""

    def environment(self, model: ModelSettings) -> str | None:
        """Return the name of the Python environment of its own in which a model would run; None is that of
        the server. For ``mlsrv config check``.

        Raises:
            ModelLoadError: `load` would not find it, or cannot use it.
        """
        return None

    @property
    def problem(self) -> str | None:
        """Reason why the executor as a whole is unhealthy, or None."""
        return None
