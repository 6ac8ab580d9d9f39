"""Tables."""

from __future__ import annotations

import pytest

from mlsrv_cli.tables import aligned, print_table


def test_columns_are_as_wide_as_they_need_and_lines_are_whole() -> None:
    text = aligned(("name", "what"), [("a", "x" * 200), ("longer", ""), ("b", "two\nlines")], "Title")
    assert text.splitlines() == [
        "Title",
        "name    what",
        f"a       {'x' * 200}",
        "longer  -",
        "b       two lines",
    ]


def test_no_frame_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [("1", "[bold]2[/]")])
    assert capsys.readouterr().out == "a  b\n1  [bold]2[/]\n"
