"""Tables: drawn on a terminal, else aligned columns with one row a line, which grep and awk can read."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print rows of texts, each as long as `headers`."""
    if sys.stdout.isatty():
        _draw(headers, rows, title)
    else:
        print(aligned(headers, rows, title))


def aligned(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Return the table as lines of text, each column as wide as its longest entry."""
    lines = [[" ".join(cell.split()) or "-" for cell in row] for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([title, *text] if title else text)


def _draw(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, title=title or None, title_justify="left", box=box.ROUNDED, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
