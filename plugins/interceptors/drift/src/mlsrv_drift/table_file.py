"""Table file: a reference sample in a file."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from mlsrv.errors import ModelLoadError

MOST_ROWS = 100_000
"""Rows of a reference; of a larger one, rows at equal distances."""

ENDINGS = (".npy", ".csv", ".parquet")


@frozen(eq=False)
class Table:
    """A sample, by column.

    Attributes:
        names: of the columns; empty if the file has none.
        columns: float64 with NaN for missing values, or objects: texts, with None.
        digest: of the file.
    """

    names: tuple[str, ...]
    columns: tuple[npt.NDArray[Any], ...]
    digest: str

    def only(self, names: Container[str], wanted: bool = True) -> Table:
        """Return the columns whose names are among these, or are not."""
        kept = [index for index, name in enumerate(self.names) if (name in names) == wanted]
        if not self.names:
            return evolve(self, columns=() if wanted else self.columns)
        return evolve(
            self,
            names=tuple(self.names[index] for index in kept),
            columns=tuple(self.columns[index] for index in kept),
        )


def read(model: str, path: Path) -> Table:
    """Return the sample in a file.

    Raises:
        ModelLoadError: there is none, or it cannot be used; the sentence says why.
    """
    try:
        content = path.read_bytes()
        names, columns = _READERS[path.suffix.lower()](path)
    except KeyError:
        raise _wrong(model, path, f"the ending must be one of {', '.join(ENDINGS)}") from None
    except ImportError as error:
        raise _wrong(model, path, "Parquet needs pyarrow (pip install mlsrv-drift[parquet])") from error
    except (OSError, EOFError, ValueError, TypeError, csv.Error) as error:
        raise _wrong(model, path, str(error) or type(error).__name__) from error
    rows = len(columns[0]) if columns else 0
    if rows < 2:
        raise _wrong(model, path, f"it has {rows} rows, too few to compare anything with")
    step = -(-rows // MOST_ROWS)
    kept = tuple(np.ascontiguousarray(column[::step]) for column in columns)
    return Table(names, kept, hashlib.blake2b(content, digest_size=16).hexdigest())


def _wrong(model: str, path: Path, what: str) -> ModelLoadError:
    return ModelLoadError(f"Model {model}: drift_reference {path} cannot be used: {what}.")


def _read_npy(path: Path) -> tuple[tuple[str, ...], list[npt.NDArray[Any]]]:
    found = np.load(path, allow_pickle=False)
    if found.dtype.names is not None:
        return found.dtype.names, [_column(found[name].tolist()) for name in found.dtype.names]
    if found.ndim not in (1, 2):
        raise ValueError(f"the array has {found.ndim} dimensions in place of rows and columns")
    table = found.reshape(len(found), -1)
    if found.dtype.kind in "biuf":
        return (), [np.ascontiguousarray(column) for column in table.astype(np.float64).T]
    return (), [_column(column.tolist()) for column in table.T]


def _read_csv(path: Path) -> tuple[tuple[str, ...], list[npt.NDArray[Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file, strict=True)
        names = tuple(next(lines, ()))
        if len(set(names)) < len(names) or not names:
            raise ValueError("the first line must have a name for each column, each once")
        cells: list[list[str]] = []
        for line in lines:
            if line and len(line) != len(names):
                raise ValueError(
                    f"line {lines.line_num} has {len(line)} cells, and there are {len(names)} names"
                )
            if line:
                cells.append(line)
    return names, [_column([row[index] for row in cells]) for index in range(len(names))]


def _read_parquet(path: Path) -> tuple[tuple[str, ...], list[npt.NDArray[Any]]]:
    import pyarrow.parquet

    found = pyarrow.parquet.ParquetFile(path).read()
    return tuple(found.column_names), [_column(column.to_pylist()) for column in found.columns]


def _column(values: list[Any]) -> npt.NDArray[Any]:
    """Return numbers where all values are some, else texts."""
    try:
        return np.array([np.nan if value in (None, "") else float(value) for value in values], np.float64)
    except (TypeError, ValueError):
        made = np.empty(len(values), object)
        made[:] = [None if value is None else _text(value) for value in values]
        return made


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


_READERS = {".npy": _read_npy, ".csv": _read_csv, ".parquet": _read_parquet}
