"""Columns: the features of a request or an answer, as one-dimensional arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mlsrv_protocol.types import RequestInput, ResponseOutput

LARGEST = 65536
"""Bytes of one tensor that are looked at as a whole."""

THINNED = 8192
"""Bytes that are looked at of a larger one: rows at equal distances."""

WIDE = 64
"""Elements of a row without columns that are looked at, at equal distances."""

WIDE_ROWS = 4
"""Rows of that kind that are looked at."""

MOST_TEXTS = 64
"""Elements of a list of texts that are looked at."""

MOST_COLUMNS = 512
"""Columns of one tensor; a wider one, or one with more than two dimensions, is watched by the mean and the
standard deviation of each row."""


class Cut(NamedTuple):
    """The part of one tensor that is looked at: a copy, since models may write into a request, and memory of
    answers is used again.

    Attributes:
        name, datatype: of the tensor.
        is_wide: whether a row has no features of its own, only a mean and a spread.
        values: an array of shape [rows, columns], or a flat list.
        columns: how many elements of a flat list make a row.
    """

    name: str
    datatype: str
    is_wide: bool
    values: Any
    columns: int


@frozen(eq=False)
class Column:
    """The values of one feature: numbers as float64 with NaN for missing ones, or texts with None for them.

    Attributes:
        name: of the tensor, with the number of the column if it has several.
        datatype: of the tensor.
        values: one for each row.
    """

    name: str
    datatype: str
    values: npt.NDArray[Any]

    @property
    def is_text(self) -> bool:
        """True if the values are categories: texts or booleans."""
        return self.values.dtype == object


def cut(tensors: Iterable[RequestInput | ResponseOutput], largest: int = LARGEST) -> list[Cut]:
    """Return what is looked at of some tensors."""
    return [_cut(tensor, largest) for tensor in tensors]


def _cut(tensor: RequestInput | ResponseOutput, largest: int) -> Cut:
    data, shape = tensor.data, tensor.shape
    rows = shape[0] if shape else 1
    width = 1
    for size in shape[1:]:
        width *= size
    is_wide = len(shape) > 2 or width > MOST_COLUMNS
    if not isinstance(data, np.ndarray) or data.dtype == object:
        most = len(data) if largest > LARGEST else max(MOST_TEXTS // max(width, 1), 1) * width
        return Cut(tensor.name, tensor.datatype, is_wide, list(data[:most]), width)
    if data.nbytes <= largest and not is_wide:
        return Cut(tensor.name, tensor.datatype, False, data.copy(), width)
    table = data.reshape(rows, -1)
    most = max(THINNED // max(table.shape[1] * table.itemsize, 1), 1) if largest <= LARGEST else rows
    if is_wide:
        table = table[:, :: -(-width // WIDE)]
        most = WIDE_ROWS if largest <= LARGEST else rows
    return Cut(tensor.name, tensor.datatype, is_wide, table[:: -(-rows // most)].copy(), table.shape[1])


def columns_of(cuts: Sequence[Cut]) -> list[Column]:
    """Return the features of a request or an answer.

    Raises:
        ValueError, TypeError: data that is not what its datatype says.
    """
    found: list[Column] = []
    for one in cuts:
        found += _wide(one) if one.is_wide else _narrow(one)
    return found


def _narrow(one: Cut) -> list[Column]:
    columns = max(one.columns, 1)
    if one.datatype in ("BYTES", "BOOL"):
        flat = np.asarray(one.values).reshape(-1) if one.datatype == "BOOL" else _flat(one.values)
        values = np.empty(len(flat), object)
        values[:] = [_category(value) for value in flat]
    else:
        values = _numbers(one).reshape(-1)
    table = values.reshape(-1, columns)
    names = [one.name] if columns == 1 else [f"{one.name}[{index}]" for index in range(columns)]
    return [Column(name, one.datatype, table[:, index]) for index, name in enumerate(names)]


def _wide(one: Cut) -> list[Column]:
    if one.datatype == "BYTES":
        return []
    table = _numbers(one)
    table = table.reshape(len(table), -1) if table.ndim > 1 else table.reshape(-1, max(one.columns, 1))
    measures = {"mean": table.mean(axis=1), "spread": table.std(axis=1)}
    return [Column(f"{name}({one.name})", "FP64", values) for name, values in measures.items()]


def _numbers(one: Cut) -> npt.NDArray[np.float64]:
    values = np.asarray(one.values)
    if one.datatype == "BF16" and values.dtype == np.uint16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)


def _flat(values: Any) -> list[Any]:
    if isinstance(values, np.ndarray):
        return values.reshape(-1).tolist()
    if values and isinstance(values[0], list):
        return [element for inner in values for element in _flat(inner)]
    return list(values)


def _category(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
