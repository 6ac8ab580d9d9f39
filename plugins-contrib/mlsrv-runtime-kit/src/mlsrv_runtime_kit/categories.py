"""Categories: the values of a categorical feature, and the codes that a model knows them by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.types import Parameters

_NUMBERS = (int, float)


class Unmapped(ValueError):
    """Error: a value is of another type than the categories. Its text is the rest of a sentence about it."""

    def __init__(self, value: Any, expected: str) -> None:
        super().__init__(f"{_clip(value)} was sent, but its categories are {expected}")


@frozen
class Categories:
    """The categories of one feature.

    Attributes:
        values: in the order of their codes, which count from 0; plain Python values, None for one that is
            not known.
    """

    values: tuple[Any, ...]
    _kind: str = field(init=False)
    _codes: Mapping[Any, int] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # attrs' way of setting fields of a frozen class that follow from the others.
        object.__setattr__(self, "_kind", _kind_of(self.values))
        object.__setattr__(
            self, "_codes", {value: code for code, value in enumerate(self.values) if value is not None}
        )

    @classmethod
    def of(cls, values: Iterable[Any]) -> Categories:
        """Return the categories of an array, an index or a list, numpy's scalars as Python's."""
        return cls(tuple(value.item() if isinstance(value, np.generic) else value for value in values))

    @property
    def datatype(self) -> Datatype:
        """The datatype of a tensor with such values."""
        return _DATATYPES.get(self._kind, Datatype.BYTES)

    @property
    def parameters(self) -> Parameters | None:
        """The metadata's parameters of a tensor with such values, or None."""
        return Parameters(content_type="pd_json") if self._kind == "mixed" else None

    @property
    def are_numbers(self) -> bool:
        """Return whether a matrix of numbers can hold the values."""
        return self._kind in ("bool", "int", "float")

    def codes(self, column: Any) -> tuple[npt.NDArray[np.float64], list[Any]]:
        """Return the code of each value of a column, NaN where it is missing or no category.

        Args:
            column: a vector (numpy) or a Series (pandas), of any dtype. Texts stand for numbers and
                booleans that read so; numbers of FP16 and FP32 for the category that rounds to them.

        Returns:
            The codes, and the values that are not among the categories, each once.

        Raises:
            Unmapped: a value is of another type than the categories.
        """
        cells, missing = _cells(column)
        firsts: dict[type, Any] = {}
        for cell, gone in zip(cells, missing, strict=True):
            if not gone:
                firsts.setdefault(type(cell), cell)
        convert = {kind: self._converter(kind, cell) for kind, cell in firsts.items()}
        known = self._rounded(getattr(column, "dtype", None))
        found = np.full(len(cells), np.nan)
        unseen: dict[Any, None] = {}
        for row, (cell, gone) in enumerate(zip(cells, missing, strict=True)):
            if gone:
                continue
            converter = convert[type(cell)]
            value = cell if converter is None else converter(cell)
            code = known.get(value)
            if code is None:
                unseen[value] = None
            else:
                found[row] = code
        return found, list(unseen)

    def _converter(self, kind: type, cell: Any) -> Callable[[Any], Any] | None:
        """Return the function that makes values of a type comparable, or None where they are.

        Raises:
            Unmapped: they never are.
        """
        if issubclass(kind, bytes):
            return lambda value: self._parsed(value, _decoded(value))
        if issubclass(kind, str):
            return None if self._kind in ("text", "mixed") else lambda value: self._parsed(value, value)
        if issubclass(kind, bool):
            fits = self._kind in ("bool", "mixed")
        elif issubclass(kind, _NUMBERS):
            fits = self.are_numbers or self._kind == "mixed"
            if self._kind == "bool":
                return self._truth
        else:
            fits = False
        if not fits:
            raise Unmapped(cell, _EXPECTED[self._kind])
        return None

    def _parsed(self, value: Any, text: str | None) -> Any:
        try:
            if text is not None:
                return _PARSERS[self._kind](text)
        except (ValueError, KeyError):
            pass
        raise Unmapped(value, _EXPECTED[self._kind])

    def _truth(self, value: Any) -> bool:
        if value not in (0, 1):
            raise Unmapped(value, _EXPECTED[self._kind])
        return bool(value)

    def _rounded(self, dtype: Any) -> Mapping[Any, int]:
        """Return the codes by value, the values rounded as those of a column of this dtype."""
        if (
            self._kind != "float"
            or not isinstance(dtype, np.dtype)
            or dtype.kind != "f"
            or dtype.itemsize > 4
        ):
            return self._codes
        rounded = {float(dtype.type(value)): code for value, code in self._codes.items()}
        return rounded if len(rounded) == len(self._codes) else self._codes


def _kind_of(values: Sequence[Any]) -> str:
    kinds = set(map(type, values)) - {type(None)}
    if all(issubclass(kind, str) for kind in kinds):
        return "text"
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int" if all(-(2**63) <= value < 2**63 for value in values if value is not None) else "mixed"
    if kinds <= {int, float}:
        return "float"
    return "mixed"


def _cells(column: Any) -> tuple[list[Any], Sequence[bool]]:
    """Return the values of a column, and which of them are missing."""
    if hasattr(column, "isna"):
        return column.tolist(), column.isna().tolist()
    cells = np.asarray(column).reshape(-1).tolist()
    return cells, [cell is None or cell != cell for cell in cells]


def _clip(value: Any) -> str:
    text = repr(value.decode(errors="replace") if isinstance(value, bytes) else value)
    return text if len(text) <= 60 else text[:59] + "…"


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _boolean(text: str) -> bool:
    return {"true": True, "false": False, "1": True, "0": False}[text.strip().lower()]


_DATATYPES = {"bool": Datatype.BOOL, "int": Datatype.INT64, "float": Datatype.FP64}

_PARSERS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "mixed": str,
    "bool": _boolean,
    "int": int,
    "float": float,
}

_EXPECTED = {
    "text": "texts",
    "bool": "booleans",
    "int": "integers",
    "float": "numbers",
    "mixed": "texts, numbers and others",
}
