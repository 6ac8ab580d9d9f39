"""Command ``mlsrv top``: a live view of a running server."""

from __future__ import annotations

import json
import os
import sys
import time

import attrs
import rich_click as click

from mlsrv_cli.connection import Connection, Seconds, connection_options
from mlsrv_cli.top.rows import Reading, compare
from mlsrv_cli.top.sample import Source

_WIDTH = 120


@click.command()
@connection_options
@click.option(
    "--metrics-url", help="Where the server's metrics are.  [default: port 8082 of its host, /metrics]"
)
@click.option(
    "--interval",
    "-i",
    type=Seconds(0.1, 3600.0),
    default=2.0,
    show_default=True,
    help="Seconds between two readings.",
)
@click.option("--once", is_flag=True, help="Read twice, print what happened in between, and end.")
@click.option("--json", "as_json", is_flag=True, help="As --once, as JSON.")
def top(connection: Connection, metrics_url: str | None, interval: float, once: bool, as_json: bool) -> None:
    """Watch a running server: its models, requests a second, latencies, queues, workers.

    Percentiles, queues, workers and memory come from the server's metrics (the plugin mlsrv-prometheus there,
    and mlsrv-cli[top] here), everything else over the protocol. Without a terminal it prints once.
    """
    source = Source.of(connection, metrics_url)
    live = os.name == "posix" and sys.stdin.isatty() and sys.stdout.isatty()
    if as_json or once or not live:
        _once(source, interval, as_json=as_json)
        return
    from rich.console import Console

    from mlsrv_cli.top.screen import watch

    watch(source, interval, Console())


def _once(source: Source, interval: float, *, as_json: bool) -> None:
    before = source.read()
    time.sleep(interval)
    reading = compare(before, source.read())
    if as_json:
        print(json.dumps(attrs.asdict(reading), indent=2))
    else:
        _print(reading, source.url)


def _print(reading: Reading, url: str) -> None:
    from rich.console import Console

    from mlsrv_cli.top.view import draw

    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    console.print(draw(reading, url, width=console.width))
