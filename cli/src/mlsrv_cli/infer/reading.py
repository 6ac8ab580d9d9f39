"""Records: what files hold, one request each: JSON, JSON lines, CSV, Parquet and images."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import rich_click as click
from attrs import frozen

from mlsrv_cli.infer.images import pixels_of
from mlsrv_cli.infer.mapping import RowMapper
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.inference import InferenceRequest
from mlsrv_protocol.json_text import loads

FORMATS = ("json", "jsonl", "csv", "parquet", "image")
_SUFFIXES = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
_ROWS_TO_LEARN = 100
_ROWS_AT_A_TIME = 1024
_MORE = "\0more"
"""The key of cells beyond the columns."""


@frozen
class Record:
    """One request, or the reason why there is none.

    Attributes:
        place: where it is, for messages (``"line 3"``).
        request: the request.
        problem: what is wrong with the record where there is no request.
    """

    place: str
    request: InferenceRequest | None = None
    problem: str = ""


def read_records(files: Sequence[str], format: str | None, mapper: RowMapper) -> Iterator[Record]:
    """Yield the records of files, one after the other, reading as it goes (JSON and images: file by file).

    Args:
        files: paths, or ``-`` for the standard input.
        format: one of `FORMATS`, or None: by the name of the file, JSON lines for the standard input.
        mapper: makes requests of rows and values.

    Raises:
        click.ClickException: a file cannot be read, or its format is not known.
    """
    for file in files:
        read = _READERS[format or _format_of(file)]
        prefix = f"{file}, " if len(files) > 1 else ""
        try:
            yield from read(file, prefix, mapper)
        except OSError as error:
            raise click.ClickException(f"{file} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise click.ClickException(f"{file} is not UTF-8 text ({error}).") from error


def _format_of(file: str) -> str:
    suffix = Path(file).suffix.lower()
    if file == "-":
        return "jsonl"
    if suffix in _IMAGES:
        return "image"
    if suffix not in _SUFFIXES:
        raise click.UsageError(f"{file}: the name tells no format; name it with --format.")
    return _SUFFIXES[suffix]


def _bytes_of(file: str) -> bytes:
    with _open(file) as stream:
        return stream.read()


def _text_of(file: str) -> TextIO:
    return io.TextIOWrapper(_open(file), encoding="utf-8-sig", newline="")


def _open(file: str) -> BinaryIO:
    if file == "-":
        # Not sys.stdin: Python waits for its lock at the end, which a thread that reads it has.
        return open(0, "rb", closefd=False)
    return open(file, "rb")


def _attempt(place: str, make: Callable[[], InferenceRequest]) -> Record:
    try:
        return Record(place, make())
    except InvalidPayload as error:
        return Record(place, problem=str(error))


def _of_json(item: Any, mapper: RowMapper) -> InferenceRequest:
    """Return the request of one JSON value: a request of the protocol, a row by name, or a value."""
    if not isinstance(item, dict):
        return mapper.of_value(item)
    inputs = item.get("inputs")
    if isinstance(inputs, list) and all(
        isinstance(tensor, dict) and "datatype" in tensor for tensor in inputs
    ):
        return InferenceRequest.parse_obj(item)
    return mapper.of_row(item)


def _json(file: str, prefix: str, mapper: RowMapper) -> Iterator[Record]:
    """A file with one request, row or value, or with a list of them."""
    try:
        found = loads(_bytes_of(file).removeprefix(b"\xef\xbb\xbf"))
    except InvalidPayload as error:
        raise click.ClickException(f"{file}: {error}") from error
    several = isinstance(found, list) and bool(found) and isinstance(found[0], dict | list)
    items = found if several else [found]
    mapper.learn(item for item in items if isinstance(item, dict) and "inputs" not in item)
    for number, item in enumerate(items, 1):
        yield _attempt(f"{prefix}item {number}", partial(_of_json, item, mapper))


def _json_lines(file: str, prefix: str, mapper: RowMapper) -> Iterator[Record]:
    with _text_of(file) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _attempt(f"{prefix}line {number}", partial(_of_line, line, mapper))


def _of_line(line: str, mapper: RowMapper) -> InferenceRequest:
    return _of_json(loads(line.encode()), mapper)


def _csv(file: str, prefix: str, mapper: RowMapper) -> Iterator[Record]:
    """A table whose first line names the columns."""
    with _text_of(file) as lines:
        reader = csv.DictReader(lines, restkey=_MORE, strict=True)

        def rows() -> Iterator[tuple[str, Mapping[str, Any]]]:
            try:
                for row in reader:
                    yield f"{prefix}line {reader.line_num}", row
            except csv.Error as error:
                raise click.ClickException(f"{file}, line {reader.line_num}: {error}") from error

        yield from _of_rows(rows(), mapper)


def _parquet(file: str, prefix: str, mapper: RowMapper) -> Iterator[Record]:
    try:
        from pyarrow import ArrowException, BufferReader
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise click.ClickException(
            "Parquet needs the package pyarrow (the extra mlsrv-cli[parquet])."
        ) from error

    def rows() -> Iterator[tuple[str, Mapping[str, Any]]]:
        try:
            table = ParquetFile(BufferReader(_bytes_of(file)) if file == "-" else file)
            batches = table.iter_batches(_ROWS_AT_A_TIME)
            for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
                yield f"{prefix}row {number}", row
        except ArrowException as error:
            raise click.ClickException(f"{file} cannot be read as Parquet: {error}") from error

    yield from _of_rows(rows(), mapper)


def _of_rows(rows: Iterable[tuple[str, Mapping[str, Any]]], mapper: RowMapper) -> Iterator[Record]:
    rows = iter(rows)
    first: list[tuple[str, Mapping[str, Any]]] = []
    if mapper.guesses:
        first = list(itertools.islice(rows, _ROWS_TO_LEARN))
        mapper.learn(row for _, row in first if _MORE not in row)
    for place, row in itertools.chain(first, rows):
        if _MORE in row:
            yield Record(place, problem="there are more cells than columns")
        else:
            yield _attempt(place, partial(mapper.of_row, row))


def _image(file: str, _prefix: str, mapper: RowMapper) -> Iterator[Record]:
    """An image file: its bytes, or its pixels for a model whose only input is numeric."""
    content = _bytes_of(file)
    only = mapper.single()
    pixels = only is not None and only.datatype.dtype is not None
    yield _attempt(file, lambda: mapper.of_value(pixels_of(content, only) if pixels and only else content))


_READERS: dict[str, Callable[[str, str, RowMapper], Iterator[Record]]] = {
    "json": _json,
    "jsonl": _json_lines,
    "csv": _csv,
    "parquet": _parquet,
    "image": _image,
}
