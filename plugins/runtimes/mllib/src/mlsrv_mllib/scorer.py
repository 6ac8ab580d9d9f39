"""Scorer: the methods that the runtime needs of a model of either interface of Spark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mlsrv_mllib.columns import Column


class Scorer(ABC):
    """A loaded model.

    Attributes:
        inputs: the columns that it takes.
        outputs: those that it gives, by name; the first is sent when a request asks for none.
    """

    inputs: Sequence[Column]
    outputs: Mapping[str, Column]

    @abstractmethod
    def compute(self, columns: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
        """Compute the wanted outputs as arrays.

        Args:
            columns: a fitted array for each input.
            wanted: names of outputs.
        """

    def prepare(self, values: Any) -> Any:
        """Return the decoded request in the form in which its columns are looked up."""
        return values
