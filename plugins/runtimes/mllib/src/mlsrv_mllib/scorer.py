"""What the runtime needs of a model, whichever of Spark's interfaces it belongs to."""

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
        """The wanted outputs as arrays.

        Args:
            columns: a fitted array for each input.
            wanted: names of outputs.
        """

    def prepare(self, values: Any) -> Any:
        """What a request was decoded as, before its columns are looked for."""
        return values
