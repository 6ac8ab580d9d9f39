"""Encoder: a model that makes arrays of tokens, in whatever framework."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any


class Encoder(ABC):
    """A model: arrays of tokens in, arrays out."""

    @abstractmethod
    def __call__(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Run the model once.

        Args:
            arrays: int64 [texts, tokens] by name; names that the model does not take are left out.

        Returns:
            float32 arrays by name: ``last_hidden_state`` [texts, tokens, size], ``logits`` [texts, …],
            ``start_logits`` and ``end_logits`` [texts, tokens], as far as the model has them.
        """
