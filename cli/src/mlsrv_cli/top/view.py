"""View: the text that ``mlsrv top`` draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlsrv.telemetry.request_logging import printable
from mlsrv_cli.top.rows import Reading, Row, Topic

NOTHING = "–"
_GOOD = {"READY": "green", "LOADING": "yellow", "UNLOADING": "yellow"}
_AROUND = 8
"""Lines above and below the rows of models."""
_REASONS = 3
"""Number of models whose reason for not being ready is shown."""


class Column(NamedTuple):
    """One column.

    Attributes:
        title: its heading.
        cell: what it shows of a model.
        from_width: columns of a terminal from which it is there.
        right: whether it is aligned so.
    """

    title: str
    cell: Callable[[Row], Text]
    from_width: int = 0
    right: bool = True


def draw(
    reading: Reading,
    url: str,
    *,
    width: int,
    height: int | None = None,
    sort: str = "name",
    trouble: str = "",
) -> RenderableType:
    """Return the whole view.

    Args:
        reading: what is shown.
        url: of the server.
        width, height: of the terminal; all models are shown without a height.
        sort: a key of `SORTS`.
        trouble: why the reading is an old one, or empty.
    """
    rows = sorted(reading.models, key=SORTS[sort])
    reasons = [f"{printable(row.name)}: {printable(row.reason)}" for row in rows if row.reason][:_REASONS]
    around = _AROUND + len(reading.pools) + len(reading.topics) + len(reasons)
    room = len(rows) if height is None else max(1, height - around)
    parts: list[RenderableType] = [_head(reading, url, trouble), _table(rows[:room], width)]
    if len(rows) > room:
        parts.append(Text(f"… and {len(rows) - room} more; a higher terminal shows them", style="dim"))
    if not rows:
        parts.append(Text("The server has no models.", style="yellow"))
    parts += [Text(reason, style="red", no_wrap=True, overflow="ellipsis") for reason in reasons]
    parts += _foot(reading)
    return Group(*parts)


def seconds(value: float | None) -> str:
    """Format a duration briefly."""
    if value is None:
        return NOTHING
    if value >= 1:
        return f"{value:.3g} s"
    return f"{value * 1000:.3g} ms"


def number(value: float | None) -> str:
    """Format a count or a rate briefly."""
    if value is None:
        return NOTHING
    if value >= 10_000:
        return f"{value / 1000:.1f}k"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def size(value: float | None) -> str:
    """Format a number of bytes briefly."""
    if value is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


SORTS: dict[str, Callable[[Row], tuple[float, str, str]]] = {
    "name": lambda row: (0.0, row.name, row.version),
    "rate": lambda row: (-(row.rate or 0.0), row.name, row.version),
    "latency": lambda row: (-(row.p99 or row.mean or 0.0), row.name, row.version),
    "errors": lambda row: (-(row.errors or 0.0), row.name, row.version),
}
"""Sort keys of the rows."""


def _name(row: Row) -> Text:
    text = Text(printable(row.name), style="bold")
    return text.append(f":{printable(row.version)}", style="not bold dim") if row.version else text


def _state(row: Row) -> Text:
    return Text(row.state, style=_GOOD.get(row.state, "red"))


def _formatted(
    show: Callable[[float | None], str], value: Callable[[Row], float | None]
) -> Callable[[Row], Text]:
    return lambda row: Text(show(value(row)))


def _errors(row: Row) -> Text:
    return Text(number(row.errors), style="bold red" if row.errors else "")


COLUMNS: Sequence[Column] = (
    Column("model", _name, right=False),
    Column("state", _state, right=False),
    Column("req/s", _formatted(number, lambda row: row.rate)),
    Column("err/s", _errors, 50),
    Column("mean", _formatted(seconds, lambda row: row.mean), 60),
    Column("p50", _formatted(seconds, lambda row: row.p50), 90),
    Column("p95", _formatted(seconds, lambda row: row.p95), 90),
    Column("p99", _formatted(seconds, lambda row: row.p99), 72),
    Column("busy", _formatted(number, lambda row: row.in_flight), 80),
    Column("queue", _formatted(number, lambda row: row.queue), 90),
    Column("batch", _formatted(number, lambda row: row.batch), 80),
)


def _table(rows: Sequence[Row], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, header_style="bold")
    columns = [column for column in COLUMNS if width >= column.from_width]
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=None if column.right else 1,
        )
    for row in rows:
        table.add_row(*(column.cell(row) for column in columns))
    return table


def _head(reading: Reading, url: str, trouble: str) -> Text:
    text = Text(printable(reading.server), style="bold").append(f" at {url}  ", style="not bold")
    if trouble:
        text.append(trouble, style="bold red")
    else:
        text.append("ready" if reading.ready else "not ready", style="green" if reading.ready else "red")
        text.append(
            f"  {number(reading.rate)} requests/s, {number(reading.errors)} errors/s", style="not bold"
        )
    return text


def _foot(reading: Reading) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for pool in reading.pools:
        text = Text(f"workers of {printable(pool.name)}: {pool.alive} alive")
        if pool.missing:
            text.append(f", {pool.missing} missing", style="bold red")
        lines.append(text.append(f", {pool.queue} requests wait"))
    if reading.connected is False:
        lines.append(Text("Kafka: records cannot be read, or answers not be written", style="bold red"))
    lines += [_of_topic(topic) for topic in reading.topics]
    if reading.memory is not None:
        cpu = "" if reading.cpu is None else f", {reading.cpu * 100:.0f}% of a processor"
        lines.append(Text(f"server process: {size(reading.memory)}{cpu}"))
    if reading.missing:
        lines.append(Text(f"{reading.missing} Without them there are no percentiles.", style="yellow"))
    return lines


def _of_topic(topic: Topic) -> Text:
    text = Text(f"records of {printable(topic.name)}: {number(topic.rate)}/s answered")
    if topic.failed:
        text.append(f", {number(topic.failed)}/s failed", style="bold red")
    text.append(f", {number(topic.in_work)} in work on {topic.partitions} partitions")
    if topic.in_work:
        text.append(f", the oldest for {seconds(topic.oldest)}")
    return text.append(f", {number(topic.behind)} behind")
