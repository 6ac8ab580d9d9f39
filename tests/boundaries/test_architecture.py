"""The map of the kernel, core/ARCHITECTURE.md, names what there is: files, folders, classes and functions.

The pages for newcomers lead to files that exist.

In it, a path in backticks is a file or a folder (with a slash at its end), below `core/src/mlsrv` or below
the source folder of the room whose package it begins with. A name in backticks right behind a file, with only
a space or a parenthesis between them, is defined in that file.
"""

import ast
import re
from pathlib import Path

import pytest

from workspace import ROOT, rooms

PAGE = ROOT / "core/ARCHITECTURE.md"
TEXT = PAGE.read_text(encoding="utf-8")
KERNEL = ROOT / "core/src/mlsrv"
PACKAGES = {room.package: room.source for room in rooms()}

FILES = sorted(set(re.findall(r"`([\w/-]+\.py)`", TEXT)))
FOLDERS = sorted(set(re.findall(r"`([\w/-]+/)`", TEXT)))
DEFINED = sorted(set(re.findall(r"`([\w/-]+\.py)`\s+\(?`(\w+(?:\.\w+)*)`", TEXT)))

WHOLE = ["kernel", "controlplane", "dataplane", "hosting", "plugins", "telemetry"]
"""Folders of which each module is on the map."""


def located(path: str) -> Path:
    """Return where a path of the page leads."""
    package, _, rest = path.partition("/")
    if package in PACKAGES and rest:
        return PACKAGES[package] / rest
    return ROOT / path if path.startswith(("core/", "plugins/transports", "tests/")) else KERNEL / path


def defined_in(path: Path) -> set[str]:
    """Return the classes and functions of a module, methods with their class before them."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    found |= {inner.name, f"{node.name}.{inner.name}"}
    return found


PAGES = [PAGE, ROOT / "README.md", ROOT / "core/CHANGELOG.md", ROOT / ".github/CONTRIBUTING.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_contributors_are_led_to_files() -> None:
    text = (ROOT / ".github/CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"[ `]((?:core|tests)/[\w./-]+)[`\n]", text)
    assert len(paths) > 8
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_paths_were_found() -> None:
    assert len(FILES) > 60
    assert len(FOLDERS) >= len(WHOLE)
    assert len(DEFINED) > 15


@pytest.mark.parametrize("path", FILES)
def test_a_file_exists(path: str) -> None:
    assert located(path).is_file()


@pytest.mark.parametrize("path", FOLDERS)
def test_a_folder_exists(path: str) -> None:
    assert located(path).is_dir()


@pytest.mark.parametrize(("path", "name"), DEFINED, ids=lambda value: str(value))
def test_a_name_is_defined_in_its_file(path: str, name: str) -> None:
    assert name in defined_in(located(path))


def test_each_folder_of_the_kernel_is_on_the_map() -> None:
    folders = {path.parent.name for path in KERNEL.glob("*/*.py")}
    assert [name for name in sorted(folders) if f"`{name}/`" not in TEXT] == []


def test_each_module_at_the_top_of_the_kernel_is_on_the_map() -> None:
    modules = [path.name for path in sorted(KERNEL.glob("*.py")) if path.name != "__init__.py"]
    assert [name for name in modules if f"`{name}`" not in TEXT] == []


@pytest.mark.parametrize("folder", WHOLE)
def test_each_module_of_the_machinery_is_on_the_map(folder: str) -> None:
    modules = [path.name for path in sorted((KERNEL / folder).glob("*.py")) if path.name != "__init__.py"]
    assert [name for name in modules if f"`{folder}/{name}`" not in TEXT] == []
