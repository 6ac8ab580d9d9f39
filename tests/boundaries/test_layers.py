"""The layers inside the kernel's room, and the imports of every room: none runs in a circle.

All imports count: those under ``TYPE_CHECKING`` and those inside of functions, too.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest

from workspace import ROOT, Room, rooms

CORE = ROOT / "core/src"
MOST_ENTRIES = 30
MOST_LINES = 11_500
"""Lines of the kernel. What makes it grow beyond that belongs in a plugin or a kit."""
MOST_CODE_LINES = 6_950
"""Those without blank lines, comments and docstrings."""

LAYERS = """
[importlinter]
root_package = mlsrv

[importlinter:contract:layers]
name = The kernel builds two wings that do not know each other; both rest on plugins, telemetry and contracts
type = layers
containers = mlsrv
exhaustive = True
layers =
    testing
    kernel
    controlplane | hosting
    dataplane | model
    codecs
    plugins | telemetry
    executor | transport
    kernel_api
    interceptor | placement | repository | plugin_resources | utils
    settings | context | handlers | threads | metrics
    authorization
    timeline | types | errors
    lazy
"""


def test_the_layers_of_the_kernel(tmp_path: Path) -> None:
    config = tmp_path / "layers.ini"
    config.write_text(LAYERS, encoding="utf-8")
    program = "from importlinter.cli import lint_imports_command as main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", str(config), "--no-cache"],
        env=os.environ | {"PYTHONPATH": str(CORE)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_a_newcomer_sees_few_entries() -> None:
    entries = [path for path in (CORE / "mlsrv").iterdir() if path.is_file() or any(path.glob("*.py"))]
    assert len(entries) <= MOST_ENTRIES, sorted(path.name for path in entries)


def test_the_kernel_stays_small() -> None:
    sources = [path.read_text(encoding="utf-8") for path in sorted((CORE / "mlsrv").rglob("*.py"))]
    assert sum(len(source.splitlines()) for source in sources) <= MOST_LINES
    assert sum(map(code_lines, sources)) <= MOST_CODE_LINES


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.where)
def test_no_imports_of_a_room_run_in_a_circle(room: Room) -> None:
    graph = imports_of(dict(room.modules()))
    assert [sorted(circle) for circle in circles(graph)] == []


def test_a_circle_is_found_wherever_its_imports_stand(tmp_path: Path) -> None:
    sources = {
        "room.one": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from room.two import Two\n",
        "room.two": "def use():\n    from room import three\n",
        "room.three": "import room.one\n",
        "room.four": "import room.one\n",
        "room": "",
    }
    modules = {}
    for name, text in sources.items():
        modules[name] = tmp_path / f"{name}.py"
        modules[name].write_text(text, encoding="utf-8")
    assert circles(imports_of(modules)) == [{"room.one", "room.two", "room.three"}]


def code_lines(source: str) -> int:
    """Return how many lines of a module hold code."""
    lines = dict(enumerate(source.splitlines(), 1))
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                    lines.pop(number, None)
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines.values())


def test_lines_of_code_are_counted_without_prose() -> None:
    source = '"""Doc."""\n\nx = 1  # why\n# no code\ndef f():\n    """A\n    b."""\n    return """\n"""\n'
    assert code_lines(source) == 4


def imports_of(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Each module of a room with the modules of the room that it imports."""
    return {name: set(_imported(name, path, modules.keys())) for name, path in modules.items()}


def circles(graph: Mapping[str, Set[str]]) -> list[set[str]]:
    """The groups of modules that import each other, directly or not."""
    reached = {name: _reached(name, graph) for name in graph}
    found: list[set[str]] = []
    for name, others in reached.items():
        group = {other for other in others if name in reached[other]}
        if group and group not in found:
            found.append(group)
    return found


def _imported(module: str, path: Path, known: Set[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in inner]
        yield from (name for name in names if name in known and name != module)


def _reached(name: str, graph: Mapping[str, Set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = list(graph[name])
    while ahead:
        module = ahead.pop()
        if module not in found:
            found.add(module)
            ahead.extend(graph[module])
    return found
