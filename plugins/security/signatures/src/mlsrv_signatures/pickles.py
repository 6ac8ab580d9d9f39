"""Pickles: files that run code when they are read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

SUFFIXES = frozenset((".cloudpickle", ".dill", ".joblib", ".pckl", ".pickle", ".pkl"))

_BINARY = re.compile(rb"\x80[\x02-\x05]")
_LOOKED_AT = 4096


def is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle, by its name or by how it begins, compressed or in an archive.

    Pickles of the text protocols 0 and 1 are known by their names alone.
    """
    if path.suffix.lower() in SUFFIXES:
        return True
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).suffix.lower() in SUFFIXES for name in archive.namelist())
    with path.open("rb") as file:
        begin = file.read(_LOOKED_AT)
    return any(_BINARY.match(unpack(begin)) is not None for unpack in _UNPACKERS)


def _reader(opened: Callable[[io.BytesIO], io.BufferedIOBase]) -> Callable[[bytes], bytes]:
    def unpack(begin: bytes) -> bytes:
        try:
            with opened(io.BytesIO(begin)) as reader:
                return reader.read(2)
        except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
            return b""

    return unpack


def _inflate(begin: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(begin, 2)
    except zlib.error:
        return b""


_UNPACKERS: tuple[Callable[[bytes], bytes], ...] = (
    bytes,
    _inflate,
    _reader(lambda begin: gzip.GzipFile(fileobj=begin)),
    _reader(bz2.BZ2File),
    _reader(lzma.LZMAFile),
)
