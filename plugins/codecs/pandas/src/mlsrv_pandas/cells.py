"""Cells: values of object columns that JSON does not know, as JSON and back.

The parameter ``pd_cells`` of a column names the type of its cells, ``pd_missing`` the value of its gaps.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from mlsrv.errors import CodecError
from mlsrv_protocol.plain_arrays import plain_text

CELLS = "pd_cells"
MISSING = "pd_missing"

GAPS: dict[str, Any] = {"None": None, "NaN": math.nan, "NaT": pd.NaT, "NA": pd.NA}
"""The values that ``pd_missing`` may name."""

USUAL_GAP = "NaN"
"""What a missing value is that is not named. It does not depend on the other cells, which may be those of
another request in the same batch."""


def _as_datetime(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    found: pd.Timestamp = pd.Timestamp(value)  # not of datetime, which would cut nanoseconds
    return found if found.nanosecond else found.to_pydatetime()


def _as_date(value: Any) -> date:
    return value.date() if isinstance(value, datetime) else date.fromisoformat(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "base64": lambda value: value if isinstance(value, bytes) else b64decode(value, validate=True),
    "datetime": _as_datetime,
    "date": _as_date,
    "decimal": Decimal,
    "uuid": UUID,
}
"""By ``pd_cells``: makes a cell of a text."""


def kind_of(cells: Iterable[Any]) -> str | None:
    """Return the type that all cells have: "str", one that ``pd_cells`` may name, or None."""
    kinds = set(map(type, cells))
    if len(kinds) > 1 and date in kinds:  # datetime is a subclass of date, and says more
        return None
    for known, name in (
        (str, "str"),
        ((bytes, bytearray), "base64"),
        (datetime, "datetime"),
        (date, "date"),
        (Decimal, "decimal"),
        (UUID, "uuid"),
    ):
        if kinds and all(issubclass(kind, known) for kind in kinds):
            return name
    return None


def gap_of(cells: Sequence[Any]) -> str | None:
    """Return the name of the value that all missing cells have, or None if they differ or there are none."""
    names = set(map(_gap_name, cells))
    return names.pop() if len(names) == 1 else None


def _gap_name(cell: Any) -> str:
    return "None" if cell is None else "NaT" if cell is pd.NaT else "NA" if cell is pd.NA else "NaN"


def restored(cells: list[Any], kind: Any, gap: Any) -> list[Any]:
    """Return the cells of a column from the values of its JSON texts, or of another content type.

    Args:
        cells: None is missing.
        kind, gap: ``pd_cells`` and ``pd_missing`` of the column, or None.

    Raises:
        CodecError: these are unknown, or a cell is not of that kind.
    """
    if gap is not None and (not isinstance(gap, str) or gap not in GAPS):
        raise CodecError(f"unknown {MISSING} {str(gap)[:60]!r}; it is one of {', '.join(GAPS)}")
    if kind is not None and (not isinstance(kind, str) or kind not in _READERS):
        raise CodecError(f"unknown {CELLS} {str(kind)[:60]!r}; it is one of {', '.join(_READERS)}")
    missing = GAPS[gap or USUAL_GAP]
    read = _READERS[kind] if kind is not None else None
    found: list[Any] = []
    try:
        for cell in cells:
            found.append(missing if cell is None else cell if read is None else read(cell))
    except (ValueError, TypeError, AttributeError, ArithmeticError):
        raise CodecError(f"element {len(found)} does not fit {CELLS} {kind}") from None
    return found


def text_of(cell: Any, kind: str) -> str:
    """Return the text of a cell of one of the kinds."""
    if kind == "base64":
        return b64encode(cell).decode()
    return cell.isoformat() if kind in ("date", "datetime") else str(plain_text(cell))


def to_json(value: Any) -> Any:
    """Return any value as `json.dumps` takes it: missing values are None, infinities the words of the
    protocol, dates texts of ISO 8601, binary data base64, `Decimal` and `UUID` texts.

    Raises:
        TypeError: it is, or holds, something else.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else float(value)
    if isinstance(value, dict):
        return {_key(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    return to_json(simpler(value))


def simpler(value: Any) -> Any:
    """Return a value that is no JSON as a list, a dict, a text, a number or None, whose elements may need the
    same again.

    Raises:
        TypeError: it is of another type.
    """
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, np.generic | np.ndarray):
        if value.dtype.kind == "M":
            return pd.DatetimeIndex(np.ravel(value)).map(_iso).to_numpy(object).reshape(value.shape).tolist()
        if value.dtype.kind != "m":
            return value.tolist()
    elif isinstance(value, date | time):
        return value.isoformat()
    elif isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    elif isinstance(value, Decimal):
        return str(value) if value.is_finite() else float(value)
    elif isinstance(value, UUID):
        return str(value)
    elif isinstance(value, Enum):
        return value.value
    elif isinstance(value, set | frozenset):
        return sorted(value, key=str)
    elif isinstance(value, pd.Series | pd.Index):
        return value.tolist()
    elif isinstance(value, pd.DataFrame):
        return value.to_dict("records")
    raise TypeError(f"it holds a {type(value).__name__}")


def _iso(moment: Any) -> Any:
    return None if moment is pd.NaT else moment.isoformat()


def _key(key: Any) -> Any:
    if key is None or isinstance(key, bool | int | float):
        return key
    found = to_json(key)
    if isinstance(found, list | dict):
        raise TypeError(f"a key is a {type(key).__name__}")
    return found
