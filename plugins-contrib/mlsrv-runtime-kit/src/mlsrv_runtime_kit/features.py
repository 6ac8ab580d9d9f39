"""Features: the columns that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from mlsrv.errors import InferenceError, InputsNotFound
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.plain_arrays import as_text
from mlsrv_protocol.types import MetadataTensor

MATRIX = "input-1"
"""The name in the metadata of an input that may have any name: what the numpy codec calls it."""

LISTED = 12
"""Names in a message."""


@frozen
class Features:
    """The features of a model, as far as its artifact describes them.

    Attributes:
        count: how many there are; None if unknown.
        names: of all of them in their order, or empty if unknown.
        datatypes: of all of them in their order, as in the metadata.
        datatype: of all of them, if `datatypes` is empty.
    """

    count: int | None = None
    names: tuple[str, ...] = ()
    datatypes: tuple[Datatype, ...] = ()
    datatype: Datatype = Datatype.FP32

    def inputs(self) -> list[MetadataTensor]:
        """Return the metadata: a tensor of shape [-1, 1] for each named feature, else one matrix."""
        if not self.names:
            width = -1 if self.count is None else self.count
            return [MetadataTensor(MATRIX, self._common(), [-1, width])]
        datatypes = self.datatypes or (self.datatype,) * len(self.names)
        return [
            MetadataTensor(name, datatype, [-1, 1])
            for name, datatype in zip(self.names, datatypes, strict=True)
        ]

    def fitted(self, model: str, values: Any) -> Any:
        """Return a table with these features in their order.

        Args:
            model: its name, for messages.
            values: an array of shape [rows, features] (one of shape [rows] is a single column), or a
                DataFrame, whose columns may come in any order if the names are known.

        Returns:
            An array of two dimensions, or a DataFrame.

        Raises:
            InputsNotFound: columns of the DataFrame are missing, or not known.
            InferenceError: the number of columns or of dimensions is wrong, or the value is not a table.
        """
        if hasattr(values, "columns"):
            return self._fitted_frame(model, values)
        if not isinstance(values, np.ndarray):
            raise InferenceError(
                f"Model {model} takes an array or a DataFrame, but the request was decoded as a "
                f'{type(values).__name__}; send the content type "np" or "pd".'
            )
        if values.ndim < 2:
            values = values.reshape(-1, 1)
        if values.ndim > 2:
            raise InferenceError(
                f"Model {model} takes a table of rows and features, not the shape {list(values.shape)}."
            )
        self._check_count(model, values.shape[1])
        return values

    def joined(self, model: str, columns: Mapping[str, Any]) -> Any:
        """Return an array of shape [rows, features] from one array for each feature.

        Raises:
            InputsNotFound: columns are missing, or not known.
            InferenceError: they are not of one length, or no columns.
        """
        self._check_names(model, list(columns))
        parts = [np.asarray(columns[name]) for name in self.names]
        rows = len(parts[0]) if parts[0].ndim else 1
        for name, part in zip(self.names, parts, strict=True):
            if part.size != rows or part.shape[1:] not in ((), (1,)):
                raise InferenceError(
                    f'Model {model}, input "{name}": shape {list(part.shape)} was sent, but a column of '
                    f"{rows} rows has the shape [{rows}] or [{rows}, 1]."
                )
        return np.column_stack([part.reshape(-1) for part in parts])

    def _fitted_frame(self, model: str, frame: Any) -> Any:
        names = [as_text(name) for name in frame.columns]
        if not self.names:
            self._check_count(model, len(names))
            return frame
        self._check_names(model, names)
        return frame if names == list(self.names) else frame[list(self.names)]

    def _check_names(self, model: str, names: Sequence[str]) -> None:
        if missing := [name for name in self.names if name not in names]:
            raise InputsNotFound.missing(model, missing[:LISTED], self.names)
        if unknown := [name for name in names if name not in self.names]:
            raise InputsNotFound.unknown(model, unknown[:LISTED], self.names)

    def _check_count(self, model: str, count: int) -> None:
        if self.count is None or count == self.count:
            return
        listed = ", ".join(self.names[:LISTED]) + (", …" if len(self.names) > LISTED else "")
        raise InferenceError(
            f"Model {model} takes {self.count} features{f' ({listed})' if listed else ''}, but the input has "
            f"{count}."
        )

    def _common(self) -> Datatype:
        return self.datatypes[0] if len(set(self.datatypes)) == 1 else self.datatype
