"""Log queue: the server never waits for the reader of its output, and what is lost is counted and told."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlsrv_cli import log_queue
from mlsrv_cli.log_formats import TextFormatter
from mlsrv_cli.log_output import Output, OutputHandler
from mlsrv_cli.log_queue import DivertedHandler, LogQueue

LIMIT = 20.0


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("acme", logging.WARNING, __file__, 1, message, arguments, None)


class Held(logging.Handler):
    """Writes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.begun.set()
        assert self.go_on.wait(LIMIT)
        self.written.append(self.format(record))


@pytest.fixture
def queue() -> Iterator[LogQueue]:
    """A queue with a running thread, which has diverted nothing."""
    made = LogQueue()
    made._thread.start()
    yield made
    assert made.close(LIMIT)


def test_records_that_do_not_fit_are_dropped_counted_and_told(
    queue: LogQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_queue, "LIMIT", 10_000)
    held = Held()
    handler = DivertedHandler(queue, held)
    handler.handle(record("first"))
    assert held.begun.wait(LIMIT)
    for _ in range(30):  # returns at once, though nothing is written
        handler.handle(record("next"))
    assert queue.dropped > 0
    held.go_on.set()
    while len(held.written) < 31 - queue.dropped:
        assert held.go_on.wait(LIMIT)
    handler.handle(record("last"))
    while not caplog.messages:
        assert held.go_on.wait(LIMIT)
    assert f"The log dropped {queue.dropped} entries" in caplog.text


def test_a_record_that_waits_keeps_nothing_alive_and_has_no_password(queue: LogQueue) -> None:
    class Text:
        def __str__(self) -> str:
            return "postgres://user:s3cret@db/models"

    held = Held()
    kept: list[logging.LogRecord] = []
    held.emit = kept.append  # type: ignore[method-assign]
    handler = DivertedHandler(queue, held)
    try:
        raise ValueError("http://user:s3cret@db")
    except ValueError:
        failed = record("cannot connect to %s", Text())
        failed.exc_info = sys.exc_info()
    handler.handle(failed)
    handler.handle(record("%d", "no number"))
    assert queue.close(LIMIT)
    assert kept[0].args is None
    assert kept[0].exc_info is None
    assert kept[0].getMessage() == "cannot connect to postgres://user:***@db/models"
    assert "ValueError: http://user:***@db" in kept[0].exc_text
    assert kept[1].getMessage().startswith("%d (its arguments cannot be inserted: TypeError")


def test_lines_that_wait_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    calls: list[None] = []
    handler = OutputHandler(Output(writing, "a pipe", lambda: calls.append(None)))
    for text in ("one", "two", "three"):
        handler.emit(record(text))
    handler.flush()
    assert os.read(reading, 100) == b"one\ntwo\nthree\n"
    assert len(calls) == 1
    for one in (reading, writing):
        os.close(one)


def test_a_pipe_that_does_not_block_gets_everything() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    output, data = Output(writing, "a pipe", lambda: None), os.urandom(10**6)
    found = bytearray()

    def read() -> None:
        while len(found) < len(data):
            found.extend(os.read(reading, 2**16))

    reader = threading.Thread(target=read)
    reader.start()
    output.add(data)
    output.flush()
    reader.join(LIMIT)
    assert bytes(found) == data
    for one in (reading, writing):
        os.close(one)


def test_a_reader_that_is_gone_is_told_once(queue: LogQueue, capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    handler = queue.output_handler(writing, "stdout")
    handler.setFormatter(TextFormatter())
    for _ in range(5):
        DivertedHandler(queue, handler).handle(record("lost"))
    assert queue.close(LIMIT)
    told = capfd.readouterr().err
    assert told == (
        "Error: The log cannot be written to stdout: Broken pipe; what is lost is not told again.\n"
    )
    os.close(writing)


def test_a_handler_that_fails_is_told_once_without_a_traceback(
    queue: LogQueue, capfd: pytest.CaptureFixture[str]
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    handler = queue._diverted(logging.StreamHandler(Gone()))
    for _ in range(5):
        handler.handle(record("lost"))
    assert queue.close(LIMIT)
    told = capfd.readouterr().err
    assert told.startswith("Error: The log handler StreamHandler failed: Broken pipe")
    assert len(told.splitlines()) == 1


def test_text_that_is_printed_waits_for_a_slow_reader_and_not_for_one_that_stalls(
    queue: LogQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_queue, "LIMIT", 50_000)
    reading, writing = os.pipe()
    stream = queue._printing(writing, "a pipe")
    found = bytearray()
    go_on = threading.Event()

    def read() -> None:
        while not found.endswith(b"end\n"):
            found.extend(os.read(reading, 1000))
        go_on.wait(LIMIT)
        while os.read(reading, 2**16):
            pass

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20_000):
        print("line", number, file=stream)
    print("end", file=stream)
    while not found.endswith(b"end\n"):
        go_on.wait(0.01)
    assert bytes(found).splitlines() == [b"line %d" % number for number in range(20_000)] + [b"end"]
    assert queue.dropped == 0
    for _ in range(200):
        stream.write("x" * 1000 + "\n")
    assert queue.dropped > 0
    go_on.set()
    assert queue.close(LIMIT)
    os.close(writing)
    reader.join(LIMIT)
    os.close(reading)


def test_a_renamed_log_file_is_opened_again(queue: LogQueue, tmp_path: Path) -> None:
    file = tmp_path / "log"
    inner = logging.FileHandler(file, mode="w")
    handler = queue._diverted(inner)
    handler.handle(record("before"))
    queue._put(0, lambda: file.rename(tmp_path / "log.1") and None)
    handler.handle(record("renamed"))
    queue.reopen()
    handler.handle(record("after"))
    assert queue.close(LIMIT)
    inner.close()
    assert (tmp_path / "log.1").read_text() == "before\nrenamed\n"
    assert file.read_text() == "after\n"
