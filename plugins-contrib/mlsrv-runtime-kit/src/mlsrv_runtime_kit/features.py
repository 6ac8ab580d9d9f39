"""Features: the columns that a model takes, checked, ordered and joined to a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from mlsrv.errors import InferenceError, InputsNotFound
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.plain_arrays import as_text
from mlsrv_protocol.types import MetadataTensor
from mlsrv_runtime_kit.categories import Categories, Unmapped

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
        categories: of the features that have them, by number.
        spaces: what the framework writes for a space in a name; a request may have either.
        takes_row: whether an array of one dimension, with as many elements as there are features, is one row.
    """

    count: int | None = None
    names: tuple[str, ...] = ()
    datatypes: tuple[Datatype, ...] = ()
    datatype: Datatype = Datatype.FP32
    categories: Mapping[int, Categories] = field(factory=dict)
    spaces: str = " "
    takes_row: bool = False

    def inputs(self) -> list[MetadataTensor]:
        """Return the metadata: a tensor of shape [-1, 1] for each named feature, else one matrix."""
        if not self.names:
            width = -1 if self.count is None else self.count
            return [MetadataTensor(MATRIX, self._common(), [-1, width])]
        datatypes = self.datatypes or (self.datatype,) * len(self.names)
        found = [
            MetadataTensor(name, datatype, [-1, 1])
            for name, datatype in zip(self.names, datatypes, strict=True)
        ]
        for number, categories in self.categories.items():
            found[number].datatype, found[number].parameters = categories.datatype, categories.parameters
        return found

    def fitted(self, model: str, values: Any) -> Any:
        """Return a table with these features in their order.

        Args:
            model: its name, for messages.
            values: an array of shape [rows, features] (one of shape [rows] is a single column, or a row where
                `takes_row` says so), or a DataFrame, whose columns may come in any order if the names are
                known.

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
            is_row = self.takes_row and values.size == self.count
            values = values.reshape((1, -1) if is_row else (-1, 1))
        if values.ndim > 2:
            raise InferenceError(
                f"Model {model} takes a table of rows and features, not the shape {list(values.shape)}."
            )
        self._check_count(model, values.shape[1])
        return values

    def joined(self, model: str, columns: Mapping[str, Any]) -> Any:
        """Return an array of shape [rows, features] from one array, or list, for each feature.

        Its dtype is `object` if a feature has categories or comes as texts, so that each value stays as it
        is; else the smallest that holds the numbers of all columns.

        Raises:
            InputsNotFound: columns are missing, or not known.
            InferenceError: they are not of one length, or no columns.
        """
        found = self._by_name(model, list(columns))
        parts = [_array(columns[found[name]]) for name in self.names]
        rows = len(parts[0]) if parts[0].ndim else 1
        for name, part in zip(self.names, parts, strict=True):
            if part.size != rows or part.shape[1:] not in ((), (1,)):
                raise InferenceError(
                    f'Model {model}, input "{name}": shape {list(part.shape)} was sent, but a column of '
                    f"{rows} rows has the shape [{rows}] or [{rows}, 1]."
                )
        have_categories = bool(self.categories) or Datatype.BYTES in self.datatypes
        if not have_categories and all(part.dtype.kind in "biuf" for part in parts):
            return np.column_stack([part.reshape(-1) for part in parts])
        table = np.empty((rows, len(parts)), object)
        for number, part in enumerate(parts):
            table[:, number] = part.reshape(-1)
        return table

    def coded(self, model: str, values: Any, unseen_is_missing: bool = False) -> Any:
        """Return a table with the code of each category, as a framework takes it from an array.

        Args:
            model: its name, for messages.
            values: from `fitted` or `joined`.
            unseen_is_missing: whether a value that is not among the categories is a missing one.

        Returns:
            A matrix of numbers with NaN for what is missing. A matrix of numbers is returned as it is if the
            categories are texts and others that it cannot hold: it has their codes.

        Raises:
            InferenceError: a value is not among the categories, is of another type, or is no number; or the
                values are a matrix of numbers, which can hold the categories of some features only.
        """
        is_array = isinstance(values, np.ndarray)
        if is_array and values.dtype != object:
            holdable = [categories.are_numbers for categories in self.categories.values()]
            if not any(holdable):
                return values
            if not all(holdable):
                raise InferenceError(
                    f"Model {model} has categories that are texts and categories that are numbers; send its "
                    "features as one tensor each, or as a DataFrame, not as a matrix of numbers."
                )
            unseen_is_missing = False  # it may be meant as the codes
        columns = values.T if is_array else (values.iloc[:, number] for number in range(values.shape[1]))
        table = np.empty(values.shape, np.float64)
        for number, column in enumerate(columns):
            name = self.names[number] if self.names else str(number)
            if number in self.categories:
                table[:, number] = _codes(model, name, self.categories[number], column, unseen_is_missing)
            else:
                table[:, number] = _numbers(model, name, column)
        return table

    def _fitted_frame(self, model: str, frame: Any) -> Any:
        names = [as_text(name) for name in frame.columns]
        if not self.names:
            self._check_count(model, len(names))
            return frame
        found = self._by_name(model, names)
        ordered = [found[name] for name in self.names]
        return frame if names == ordered else frame[ordered]

    def _by_name(self, model: str, sent: Sequence[str]) -> dict[str, str]:
        """Return what each feature is called in a request, by its name.

        Raises:
            InputsNotFound: features are missing, sent twice, or not known.
        """
        known = set(self.names)
        found: dict[str, str] = {}
        unknown: list[str] = []
        for name in sent:
            written = name if name in known else name.replace(" ", self.spaces)
            if written not in known or written in found:
                unknown.append(name)
            else:
                found[written] = name
        if missing := [name for name in self.names if name not in found]:
            raise InputsNotFound.missing(model, missing[:LISTED], self.names)
        if unknown:
            raise InputsNotFound.unknown(model, unknown[:LISTED], self.names)
        return found

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


def _array(column: Any) -> npt.NDArray[Any]:
    """Return a decoded column as an array; texts and other objects as they are."""
    if isinstance(column, np.ndarray):
        return column
    found = np.empty(len(column), object)
    found[:] = list(column)
    return found


def _codes(
    model: str, name: str, categories: Categories, column: Any, unseen_is_missing: bool
) -> npt.NDArray[np.float64]:
    try:
        found, unseen = categories.codes(column)
    except Unmapped as error:
        raise InferenceError(f'Model {model}, input "{name}": {error}.') from None
    if unseen and not unseen_is_missing:
        values, known = (_listed(some) for some in (unseen, categories.values))
        raise InferenceError(f'Model {model}, input "{name}": {values} is not among the categories {known}.')
    return found


def _numbers(model: str, name: str, column: Any) -> npt.NDArray[np.float64]:
    dtype = column.dtype
    is_series = hasattr(column, "isna")
    # Frameworks take texts in an array for numbers, if they read so, but not those in a DataFrame.
    if is_series and getattr(dtype, "kind", "O") not in "biuf":
        raise InferenceError(
            f'Model {model} refuses the input: "{name}" takes numbers, but its column has the dtype {dtype}.'
        )
    found: npt.NDArray[np.float64]
    try:
        found = column.to_numpy(np.float64, na_value=np.nan) if is_series else column.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InferenceError(f'Model {model} refuses the input: {error} (in "{name}").') from None
    return found


def _listed(values: Sequence[Any]) -> str:
    texts = [str(value)[:60] for value in values[:LISTED] if value is not None]
    return ", ".join(texts) + (", …" if len(values) > LISTED else "")
