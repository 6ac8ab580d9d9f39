"""Install lines: what documents and errors say how to install exists, and the README says where from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SKIPPED = {".venv", ".nox", "build", "dist", "node_modules", ".git"}
EXTRAS = r"(?:\[([\w,-]+)\])?"
FROM_INDEX = re.compile(r"(?<!uv )pip install[ \n]+[\"']?(mlsrv(?:-\w+)*)" + EXTRAS)
FROM_CLONE = re.compile(r"pip install (?:-\S+ )*[\"']?\./mlsrv((?:/[\w.-]+)*)" + EXTRAS)


def files(pattern: str) -> list[Path]:
    found = ROOT.rglob(pattern)
    return sorted(path for path in found if not SKIPPED & set(path.relative_to(ROOT).parts))


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


DISTRIBUTIONS = {
    settings["project"]["name"]: settings["project"]
    for path in files("pyproject.toml")
    if "project" in (settings := project(path.parent))
}
DOCUMENTS = files("*.md")
SOURCES = [path for path in files("*.py") if "src" in path.parts]


def extras_of(name: str) -> set[str]:
    return set(DISTRIBUTIONS[name].get("optional-dependencies", {}))


def named(text: str) -> set[str]:
    return set(text.split(",")) if text else set()


def test_distributions_and_extras_that_are_named_exist() -> None:
    seen = set()
    for path in [*DOCUMENTS, *SOURCES]:
        for name, extras in FROM_INDEX.findall(path.read_text()):
            if name == "mlsrv-NAME":
                continue
            assert name in DISTRIBUTIONS, f"{path.relative_to(ROOT)} names {name}"
            assert named(extras) <= extras_of(name), f"{path.relative_to(ROOT)}: {name}[{extras}]"
            seen.add(name)
    assert len(seen) > 20


def test_folders_of_a_clone_that_are_named_exist() -> None:
    seen = 0
    for path in DOCUMENTS:
        for folder, extras in FROM_CLONE.findall(path.read_text()):
            name = project(ROOT / folder.strip("/"))["project"]["name"]
            assert named(extras) <= extras_of(name), f"{path.relative_to(ROOT)}: .{folder}[{extras}]"
            seen += 1
    assert seen >= 3


def test_uv_finds_what_the_clone_needs_in_the_clone() -> None:
    top = project(ROOT)
    groups = [top["project"]["dependencies"], *top["project"]["optional-dependencies"].values()]
    wanted = {name_of(requirement) for group in groups for requirement in group} & DISTRIBUTIONS.keys()
    assert len(wanted) > 20
    for name in wanted:
        assert top["tool"]["uv"]["sources"].get(name) == {"workspace": True}, name


def name_of(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement)[0]


def test_the_readme_says_where_from_and_how_the_command_is_found() -> None:
    install = (ROOT / "README.md").read_text().partition("## Install\n")[2].partition("\n## ")[0]
    assert "No package index has these distributions yet" in install
    assert "pip install mlsrv-NAME" in install
    lines = re.search(r"```text\n(.*?)```", install, re.DOTALL)
    assert lines is not None
    assert all(line.startswith("uv pip install ") for line in lines[1].splitlines())
    assert "`uv run mlsrv`" in install


@pytest.mark.parametrize("name", sorted(extras_of(project(ROOT)["project"]["name"])))
def test_an_extra_is_the_plugin_of_its_name(name: str) -> None:
    wanted = DISTRIBUTIONS[project(ROOT)["project"]["name"]]["optional-dependencies"][name]
    own = {name_of(requirement) for requirement in wanted}
    assert f"mlsrv-{name}" in own or own <= DISTRIBUTIONS.keys()
