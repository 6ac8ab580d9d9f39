"""Context: the model whose code is running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlserver.settings import ModelSettings

__all__ = ["model_context"]


@contextmanager
def model_context(model_settings: ModelSettings) -> Iterator[None]:
    """Run code in the name of a model. The host of a model does this here, so that nothing is left to do."""
    yield
