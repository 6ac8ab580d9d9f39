"""Output: one line of JSON for each record, in the order of the input, on stdout or in a file."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import rich_click as click

from mlsrv_protocol.client.result import Result
from mlsrv_protocol.inference import InferenceResponse
from mlsrv_protocol.json import dumps, encode_response

_BLOCK = 1 << 20


class Output:
    """Writes lines.

    Args:
        file: where to.
        values: write the values of the outputs by name in place of the whole response.
        done: records that have a line already.
    """

    def __init__(self, file: BinaryIO, *, values: bool = False, done: int = 0) -> None:
        self._file = file
        self._values = values
        self.done = done

    def response(self, response: InferenceResponse) -> None:
        """Write a response."""
        self._line(dumps(plain_values(response)) if self._values else encode_response(response))

    def problem(self, sentence: str, id: str | None = None) -> None:
        """Write why a record has no response."""
        self._line(dumps({"id": id, "error": sentence} if id else {"error": sentence}))

    def _line(self, text: bytes) -> None:
        self._file.write(text + b"\n")
        self._file.flush()


@contextmanager
def open_output(path: str | None, *, resume: bool, force: bool, values: bool) -> Iterator[Output]:
    """Open the output; None or ``-`` is the standard output.

    Args:
        path: of the file.
        resume: continue a file: its whole lines count as done, and the rest of a broken line is removed.
        force: replace a file that exists.
        values: see `Output`.

    Raises:
        click.ClickException: the file exists and is neither continued nor replaced, or cannot be written.
    """
    if path in (None, "-"):
        yield Output(sys.stdout.buffer, values=values)
        return
    file = Path(str(path))
    try:
        if resume and file.exists():
            with file.open("r+b") as stream:
                done = _keep_whole_lines(stream)
                yield Output(stream, values=values, done=done)
            return
        with file.open("wb" if force or resume else "xb") as stream:
            yield Output(stream, values=values)
    except FileExistsError:
        raise click.UsageError(f"{file} exists; --resume continues it, --force replaces it.") from None
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror or error}") from error


def plain_values(response: InferenceResponse) -> dict[str, Any]:
    """Return the values of the outputs by name; the value itself where there is only one.

    Bytes are text if they are UTF-8, else base64.
    """
    found = {}
    for name, array in Result(response).items():
        plain = _plain(array.tolist())
        while isinstance(plain, list) and len(plain) == 1:
            plain = plain[0]
        found[name] = plain
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value


def _keep_whole_lines(stream: BinaryIO) -> int:
    """Return the number of whole lines of a file, cut what follows, and stay at the end."""
    lines, end, position = 0, 0, 0
    while block := stream.read(_BLOCK):
        lines += block.count(b"\n")
        if b"\n" in block:
            end = position + block.rindex(b"\n") + 1
        position += len(block)
    stream.seek(end)
    stream.truncate()
    os.fsync(stream.fileno())
    return lines
