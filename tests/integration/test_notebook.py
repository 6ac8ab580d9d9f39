"""The cells of the guide to embedding in a real notebook's kernel, which has an event loop of its own."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient import NotebookClient

from workspace import ROOT

GUIDE = ROOT / "core/guides/embedding.md"
CELL = re.compile(r"^```python notebook/(\w+)\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(180)
def test_a_notebook_starts_asks_and_stops_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # no debugger is attached
    cells = dict(CELL.findall(GUIDE.read_text(encoding="utf-8")))
    names = ["start", "ask", "ask", "stop", "start", "ask", "stop"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cells[name]) for name in names])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    printed = [
        "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
        for cell in notebook.cells
    ]
    assert [text.strip() for text in printed] == ["", "[2. 5.]", "[2. 5.]", "", "", "[2. 5.]", ""]
