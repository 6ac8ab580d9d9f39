"""Row mapper: makes a request of one row of a table, or of one value, by the inputs that a model declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.inference import InferenceRequest, RequestInput
from mlsrv_protocol.metadata import MetadataTensor

_FLAGS = {"true": True, "false": False, "1": True, "0": False}


class RowMapper:
    """Makes requests of rows.

    A model that declares inputs of the columns' names gets one tensor for each; one that declares a single
    input of another name gets the columns as one row of a matrix. A model that declares none gets a tensor
    for each column, of the datatype that all known rows fit.

    Args:
        inputs: the inputs that the model declares.
        columns: the columns to send, in this order; None means those that the model declares, else all.
        content_type: of the requests, or None.
    """

    def __init__(
        self,
        inputs: Sequence[MetadataTensor],
        columns: Sequence[str] | None = None,
        content_type: str | None = None,
    ) -> None:
        self._declared = {tensor.name: tensor for tensor in inputs}
        self._columns = columns
        self._parameters = None if content_type is None else {"content_type": content_type}
        self._guessed: dict[str, Datatype] = {}

    @property
    def guesses(self) -> bool:
        """Return whether datatypes come from the rows, as the model declares none."""
        return not self._declared

    def learn(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take datatypes for columns from some rows, where the model declares none."""
        found: dict[str, list[Any]] = {}
        for row in rows:
            for name, cell in row.items():
                found.setdefault(name, []).append(cell)
        self._guessed |= {name: _guess(cells) for name, cells in found.items()}

    def of_row(self, row: Mapping[str, Any]) -> InferenceRequest:
        """Return the request for one row: cells by column.

        Raises:
            InvalidPayload: a column is missing, or a cell does not fit the datatype of its input.
        """
        names = self._columns if self._columns is not None else list(row)
        missing = [name for name in names if name not in row]
        if missing:
            raise InvalidPayload(f"there is no column {', '.join(missing)}; there are {', '.join(row)}")
        if not self._declared:
            return self._request([self._guessed_input(name, row[name]) for name in names])
        sent = {name: tensor for name, tensor in self._declared.items() if name in names}
        if sent:  # the server knows which of them a request may leave out
            return self._request([_input(tensor, row[name]) for name, tensor in sent.items()])
        if len(self._declared) > 1:
            raise InvalidPayload(f"the model takes {', '.join(self._declared)}; there are {', '.join(names)}")
        [tensor] = self._declared.values()
        width = tensor.shape[-1] if len(tensor.shape) > 1 else -1
        if width not in (-1, len(names)):
            raise InvalidPayload(
                f"the model takes {width} values in {tensor.name}, and there are {len(names)} columns "
                f"({', '.join(names)}); choose them with --columns"
            )
        return self._request([_input(tensor, [row[name] for name in names])])

    def of_value(self, value: Any) -> InferenceRequest:
        """Return the request whose only input is a value: a number, text, bytes, (nested) list or array.

        Raises:
            InvalidPayload: the model declares several inputs, or the value does not fit.
        """
        if len(self._declared) > 1:
            raise InvalidPayload(
                f"the model takes several inputs ({', '.join(self._declared)}); give them by name"
            )
        for tensor in self._declared.values():
            return self._request([_input(tensor, value)])
        datatype = Datatype.from_numpy(np.asarray(value).dtype)
        return self._request([_input(MetadataTensor("input-0", datatype, []), value, rank=None)])

    def single(self) -> MetadataTensor | None:
        """Return the only input that the model declares, or None."""
        return next(iter(self._declared.values())) if len(self._declared) == 1 else None

    def _guessed_input(self, name: str, cell: Any) -> RequestInput:
        if name not in self._guessed:
            self.learn([{name: cell}])
        return _input(MetadataTensor(name, self._guessed[name], []), cell, rank=None)

    def _request(self, inputs: list[RequestInput]) -> InferenceRequest:
        return InferenceRequest(inputs=inputs, parameters=self._parameters)


_DECLARED = -1


def _input(tensor: MetadataTensor, value: Any, rank: int | None = _DECLARED) -> RequestInput:
    """Return one row as a tensor; `rank` is that of the declared shape unless there is none."""
    try:
        array = _array(value, tensor.datatype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidPayload(f"{tensor.name}: {error}") from None
    shape = list(array.shape)
    wanted = len(tensor.shape) if rank == _DECLARED else len(shape) + 1
    while len(shape) < wanted:
        shape.insert(0, 1)
    data: Any = array.reshape(-1)
    return RequestInput(tensor.name, shape, tensor.datatype, data.tolist() if array.dtype == object else data)


def _array(value: Any, datatype: Datatype) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ndarray) and value.dtype != object and datatype.dtype is not None:
        return value.astype(datatype.dtype)
    cells = np.asarray(value, dtype=object) if not isinstance(value, bytes) else _one(value)
    made = np.empty(cells.shape, dtype=object)
    made.reshape(-1)[:] = [_cell(cell, datatype) for cell in cells.reshape(-1)]
    if datatype.dtype is None:
        return made
    if datatype is Datatype.BF16:
        return made  # encoded from numbers when it is sent
    if datatype.is_integer:
        low, high = int(datatype.lowest), int(datatype.highest)
        wrong = [cell for cell in made.reshape(-1) if not low <= cell <= high]
        if wrong:
            raise ValueError(f"{wrong[0]} is no {datatype}")
    return made.astype(datatype.dtype)


def _one(value: bytes) -> np.ndarray[Any, Any]:
    array = np.empty((), dtype=object)
    array[()] = value
    return array


def _cell(cell: Any, datatype: Datatype) -> Any:
    """Return a cell of a file as an element of a datatype."""
    if isinstance(cell, list | tuple):
        raise ValueError("the lists in it differ in length")
    if datatype is Datatype.BYTES:
        return cell if isinstance(cell, bytes) else "" if cell is None else str(cell)
    empty = cell is None or (isinstance(cell, str) and not cell.strip())
    if datatype.is_float and empty:
        return float("nan")
    if datatype is Datatype.BOOL:
        flag = cell if isinstance(cell, bool) else _FLAGS.get(str(cell).strip().lower())
        if flag is None:
            raise ValueError(f"{str(cell)!r} is neither true nor false")
        return flag
    try:
        number = float(cell) if datatype.is_float else _whole(cell)
    except (ValueError, TypeError):
        raise ValueError(f"{'an empty cell' if empty else repr(cell)} is no {datatype}") from None
    return number


def _whole(cell: Any) -> int:
    if isinstance(cell, str):
        return int(cell)
    if int(cell) != cell:
        raise ValueError(cell)
    return int(cell)


def _guess(cells: Sequence[Any]) -> Datatype:
    """Return the datatype that all cells fit; texts such as those of CSV count as what they spell."""
    flat = [cell for cell in np.asarray([*cells, None], dtype=object)[:-1] if cell is not None and cell != ""]
    scalars = [item for cell in flat for item in (cell if isinstance(cell, list | tuple) else [cell])]
    if scalars and all(isinstance(item, bool) for item in scalars):
        return Datatype.BOOL
    for datatype in (Datatype.INT64, Datatype.FP64):
        if scalars and all(_fits(item, datatype) for item in scalars):
            # Only floats have a value for a cell that is empty.
            return Datatype.FP64 if len(flat) < len(cells) else datatype
    return Datatype.BYTES


def _fits(item: Any, datatype: Datatype) -> bool:
    try:
        _cell(item, datatype)
    except ValueError:
        return False
    return not isinstance(item, bytes | bool)
