"""What ``mlsrv top`` draws."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mlsrv_cli.top.rows import Pool, Reading, Row, Topic
from mlsrv_cli.top.view import SORTS, draw, number, seconds, size


def drawn(reading: Reading, *, width: int = 120, **options: object) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(draw(reading, "http://localhost:8080", width=width, **options))  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO of above


def row(name: str, **values: object) -> Row:
    return Row(name, "", "READY", "", **values)  # type: ignore[arg-type]  # fields of a row


BUSY = Reading(
    "mlsrv 1.0",
    False,
    (
        Row("iris", "v1", "READY", "", 120.4, 0.5, 0.002, 0.001, 0.004, 1.25, 3, 2, 3.5),
        Row("sick\x1b[31m", "", "UNAVAILABLE", "no [red]licence[/red]"),
    ),
    (Pool("default", 2, 1, 4),),
    memory=300 * 2**20,
    cpu=0.42,
    topics=(Topic("in", 4, 1200, 64, 0.25, 350, 2), Topic("quiet", 1, 0, 0, 0)),
    connected=False,
)


def test_everything_is_there_on_a_wide_terminal() -> None:
    lines = drawn(BUSY).splitlines()
    head, _, titles, _, iris = (" ".join(line.split()) for line in lines[:5])
    assert head == "mlsrv 1.0 at http://localhost:8080 not ready 120 requests/s, 0.5 errors/s"
    assert titles == "model state req/s err/s mean p50 p95 p99 busy queue batch"
    assert iris == "iris:v1 READY 120 0.5 2 ms 1 ms 4 ms 1.25 s 3 2 3.5"
    assert "workers of default: 2 alive, 1 missing, 4 requests wait" in lines
    assert "server process: 300 MiB, 42% of a processor" in lines
    topic = "records of in: 350/s answered, 2/s failed, 64 in work on 4 partitions, the oldest for 250 ms, "
    assert topic + "1200 behind" in lines
    assert "records of quiet: –/s answered, 0 in work on 1 partitions, 0 behind" in lines
    assert "Kafka: records cannot be read, or answers not be written" in lines
    assert r"'sick\x1b[31m': no [red]licence[/red]" in lines


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100])
def test_a_narrow_terminal_has_fewer_columns_and_no_broken_lines(width: int) -> None:
    text = drawn(BUSY, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "UNAVA" in text or width < 40
    assert ("p50" in text) == (width >= 90)


def test_more_models_than_lines() -> None:
    reading = Reading("s", True, tuple(row(f"model-{number:02}") for number in range(40)))
    text = drawn(reading, height=20)
    assert len(text.splitlines()) < 20
    assert "model-11" in text
    assert "… and 28 more" in text


def test_sorting() -> None:
    rows = (
        row("a", rate=1.0, errors=0.0, p99=0.5),
        row("b", rate=3.0, errors=0.0, mean=0.9),
        row("c", rate=2.0, errors=1.0),
    )
    found = {name: "".join(one.name for one in sorted(rows, key=key)) for name, key in SORTS.items()}
    assert found == {"name": "abc", "rate": "bca", "latency": "bac", "errors": "cab"}


def test_trouble_and_emptiness_are_said() -> None:
    empty = Reading("s", True, (), missing="No metrics there.")
    text = drawn(empty, trouble="The server cannot be reached.")
    assert "The server cannot be reached." in text
    assert "The server has no models." in text
    assert "No metrics there. Without them there are no percentiles." in text


def test_figures() -> None:
    assert [seconds(value) for value in (None, 0.0001234, 0.0123, 0.5, 2.5, 1234.0)] == [
        "–",
        "0.123 ms",
        "12.3 ms",
        "500 ms",
        "2.5 s",
        "1.23e+03 s",
    ]
    assert [number(value) for value in (None, 0.0, 3.0, 3.14, 123.4, 12_345.0)] == [
        "–",
        "0",
        "3",
        "3.1",
        "123",
        "12.3k",
    ]
    assert [size(value) for value in (None, 12, 2048, 3 * 2**20, 5 * 2**30)] == [
        "–",
        "12 B",
        "2 KiB",
        "3 MiB",
        "5.0 GiB",
    ]
