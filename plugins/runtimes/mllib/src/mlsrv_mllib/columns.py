"""Columns: converts between columns of Spark's DataFrames and tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from attrs import frozen

from mlsrv.errors import InferenceError, InputsNotFound
from mlsrv.types import Datatype, MetadataTensor

VECTOR = "vector"
TEXTS = "array<string>"

SCALARS = {
    "double": Datatype.FP64,
    "float": Datatype.FP32,
    "bigint": Datatype.INT64,
    "int": Datatype.INT32,
    "smallint": Datatype.INT16,
    "tinyint": Datatype.INT8,
    "boolean": Datatype.BOOL,
    "string": Datatype.BYTES,
}
"""Spark's names of the types of single values."""

LISTS = {VECTOR: Datatype.FP64} | {f"array<{name}>": datatype for name, datatype in SCALARS.items()}
"""Spark's names of the types that hold several values in each row."""

DATATYPES = SCALARS | LISTS

_OBJECTS = "OUS"
"""Kinds of numpy's types that texts may come in."""


@frozen
class Column:
    """An input or output column of a model.

    Attributes:
        name: Spark's.
        kind: its type, one of `DATATYPES`.
        width: how many values a row has; -1 if unknown.
    """

    name: str
    kind: str
    width: int = 1

    @classmethod
    def declared(cls, tensor: MetadataTensor) -> Column:
        """Return the column for a tensor of the settings: several numbers in a row are a vector."""
        width = tensor.shape[1] if len(tensor.shape) > 1 else 1
        if width == 1:
            kinds = {datatype: kind for kind, datatype in SCALARS.items()}
            return cls(tensor.name, kinds.get(tensor.datatype, "double"))
        return cls(tensor.name, TEXTS if tensor.datatype is Datatype.BYTES else VECTOR, width)

    @property
    def is_list(self) -> bool:
        return self.kind in LISTS

    @property
    def tensor(self) -> MetadataTensor:
        """Return the metadata of the column."""
        return MetadataTensor(self.name, DATATYPES[self.kind], [-1, self.width])

    def fitted(self, model: str, values: Any) -> Any:
        """Return the values as an array of this type, of shape [rows], or [rows, width] if it holds lists.

        Raises:
            InferenceError: the shape, or the type, is another.
        """
        array = self._shaped(model, np.asarray(values))
        if DATATYPES[self.kind] is Datatype.BYTES:
            return self._texts(model, array)
        if array.dtype.kind in _OBJECTS:
            array = self._numbers(model, array)
        found = array.astype(DATATYPES[self.kind].dtype, copy=False)
        if not np.can_cast(array.dtype, found.dtype, "same_kind") or _overflows(array, found):
            raise self._refused(model, f"{array.dtype} was sent")
        return found

    def to_arrow(self, array: Any) -> Any:
        """Return a fitted array in the form that Arrow takes."""
        kind = pa.string() if DATATYPES[self.kind] is Datatype.BYTES else None
        if not self.is_list:
            return pa.array(array, kind)
        rows, width = array.shape
        return pa.ListArray.from_arrays(
            np.arange(rows + 1, dtype=np.int32) * width, pa.array(array.reshape(-1), kind)
        )

    def from_arrow(self, model: str, column: Any) -> Any:
        """Return the array of a result column.

        Raises:
            InferenceError: its lists differ in length, or some of its values are missing.
        """
        values = column.combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # has no chunk at all
            values = pa.concat_arrays(values.chunks) if values.chunks else pa.array([], values.type)
        if not self.is_list:
            if values.null_count and DATATYPES[self.kind] not in (Datatype.FP32, Datatype.FP64):
                raise InferenceError(f'Model {model}, output "{self.name}": some rows have no value.')
            return values.to_numpy(zero_copy_only=False)
        lengths = np.diff(values.offsets.to_numpy())
        if values.null_count or len(np.unique(lengths)) > 1:
            raise InferenceError(
                f'Model {model}, output "{self.name}": the rows differ in length, which no tensor can hold.'
            )
        width = int(lengths[0]) if len(lengths) else max(self.width, 0)
        return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), width)

    def _shaped(self, model: str, array: Any) -> Any:
        if self.is_list and array.dtype == object and array.ndim == 1:
            array = _stacked(array)
        if not self.is_list:
            if array.ndim == 2 and array.shape[1] == 1:
                array = array.reshape(-1)
            if array.ndim == 1:
                return array
        elif array.ndim == 1 and self.width in (1, -1):
            return array.reshape(-1, 1)
        elif array.ndim == 2 and self.width in (array.shape[1], -1):
            return array
        raise self._refused(model, f"shape {list(array.shape)} was sent")

    def _texts(self, model: str, array: Any) -> Any:
        if array.dtype.kind not in _OBJECTS:
            raise self._refused(model, f"{array.dtype} was sent")
        texts = np.empty(array.shape, dtype=object)
        for place, value in np.ndenumerate(array):
            if isinstance(value, bytes):
                try:
                    value = value.decode()
                except UnicodeDecodeError:
                    raise self._refused(model, "a text is not UTF-8") from None
            if isinstance(value, float) and value != value:
                value = None  # how a DataFrame marks a missing text
            if value is not None and not isinstance(value, str):
                raise self._refused(model, f"{_python_value(value)!r} was sent")
            texts[place] = value
        return texts

    def _numbers(self, model: str, array: Any) -> Any:
        """Return the numbers of an array of objects; None is a missing number."""
        for value in array.ravel():
            if isinstance(value, str | bytes):
                raise self._refused(model, f"the text {_python_value(value)!r} was sent")
        try:
            return np.array(array.tolist(), dtype=np.float64)
        except (TypeError, ValueError):
            raise self._refused(model, "something else was sent") from None

    def _refused(self, model: str, sent: str) -> InferenceError:
        wanted = DATATYPES[self.kind]
        what = "texts" if wanted is Datatype.BYTES else f"{wanted.value}"
        shape = f"[rows, {self.width}]" if self.is_list else "[rows] or [rows, 1]"
        return InferenceError(
            f'Model {model}, input "{self.name}" takes {what} of shape {shape}, but {sent}.'
        )


def fitted_columns(model: str, columns: Sequence[Column], values: Any) -> dict[str, Any]:
    """Return the array of each column of a decoded request.

    Args:
        model: its name, for messages.
        columns: those that the model takes.
        values: a mapping or a DataFrame of columns by name, in any order, or one array: of the only column,
            or with a column for each single value.

    Raises:
        InputsNotFound: columns are missing, or unknown.
        InferenceError: a type or a shape is wrong.
    """
    names = [column.name for column in columns]
    sent = _by_name(model, columns, values)
    if missing := [name for name in names if name not in sent]:
        raise InputsNotFound.missing(model, missing, names)
    if unknown := [name for name in sent if name not in names]:
        raise InputsNotFound.unknown(model, unknown, names)
    arrays = {column.name: column.fitted(model, sent[column.name]) for column in columns}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InferenceError(f"Model {model}: the inputs differ in their number of rows: {lengths}.")
    return arrays


def _by_name(model: str, columns: Sequence[Column], values: Any) -> Mapping[str, Any]:
    if isinstance(values, Mapping):
        return values
    if hasattr(values, "columns"):
        return {str(name): values[name].to_numpy() for name in values.columns}
    if not isinstance(values, np.ndarray):
        raise InferenceError(
            f"Model {model} takes an array or a DataFrame, but the request was decoded as a "
            f'{type(values).__name__}; send the content type "np" or "pd".'
        )
    if len(columns) == 1:
        return {columns[0].name: values}
    if any(column.is_list for column in columns) or values.ndim != 2 or values.shape[1] != len(columns):
        listed = ", ".join(column.name for column in columns)
        raise InferenceError(
            f"Model {model} takes {len(columns)} columns ({listed}), but an array of shape "
            f"{list(values.shape)} was sent; send one tensor for each, or a DataFrame."
        )
    return {column.name: values[:, number] for number, column in enumerate(columns)}


def _python_value(value: Any) -> Any:
    """Return a value as a Python object instead of a numpy scalar."""
    return value.item() if isinstance(value, np.generic) else value


def _overflows(given: Any, cast: Any) -> bool:
    return cast.dtype.kind in "iu" and given.dtype != cast.dtype and not np.array_equal(given, cast)


def _stacked(lists: Any) -> Any:
    """Stack the lists in a column of a DataFrame to one array; return the column itself if they differ in
    length."""
    parts = [np.asarray(part) for part in lists]
    is_even = len({part.shape for part in parts}) == 1
    return np.stack(parts) if is_even and parts[0].ndim == 1 else lists
