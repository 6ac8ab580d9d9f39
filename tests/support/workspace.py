"""The rooms of the repository, read from its folders, for the tests that look at all of them."""

from __future__ import annotations

import functools
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parents[2]

NOT_OURS = {"__pycache__", "build", "dist", "htmlcov", "uv.lock"}
"""What tools leave at the top level, beside the dotfiles."""

TEXT = {".cfg", ".ini", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}


@attrs.frozen
class Room:
    """A folder that is a distribution.

    Attributes:
        folder: absolute.
        project: its whole pyproject.toml.
    """

    folder: Path
    project: dict[str, Any] = attrs.field(repr=False, hash=False)

    @property
    def where(self) -> str:
        return self.folder.relative_to(ROOT).as_posix()

    @property
    def distribution(self) -> str:
        return str(self.project["project"]["name"])

    @property
    def source(self) -> Path:
        """The folder of the import package; of several, of the one that is named as the distribution is."""
        found = self.sources
        named = [path for path in found if path.name == self.distribution.replace("-", "_")]
        assert len(found) == 1 or named, f"{self.where}/src must hold one package"
        return (named or found)[0]

    @property
    def sources(self) -> list[Path]:
        """The folders of the import packages. A room has one, unless it stands in for other software."""
        return [path.parent for path in sorted((self.folder / "src").glob("*/__init__.py"))]

    @property
    def package(self) -> str:
        return self.source.name

    @property
    def is_plugin(self) -> bool:
        return self.folder.parent.parent == ROOT / "plugins"

    @property
    def stands_in(self) -> bool:
        """Whether it has the import names of other software, which excludes it from the extra ``all``."""
        return self.folder.parent.name == "compat"

    @property
    def is_heavy(self) -> bool:
        """Whether its framework has an environment and a nox session of its own."""
        return "heavy" in self.project.get("dependency-groups", {})

    @property
    def entry_points(self) -> dict[str, str]:
        return dict(self.project["project"].get("entry-points", {}).get("mlsrv", {}))

    @property
    def requirements(self) -> list[str]:
        """The names of the distributions that it depends on, extras included."""
        project = self.project["project"]
        everything = [*project.get("dependencies", ())]
        for extra in project.get("optional-dependencies", {}).values():
            everything += extra
        return sorted({requirement_name(requirement) for requirement in everything})

    def pages(self) -> list[Path]:
        """Return the README of the room and its guides."""
        return [self.folder / "README.md", *sorted((self.folder / "guides").glob("*.md"))]

    def modules(self) -> Iterator[tuple[str, Path]]:
        """Each module of the import packages: its dotted name and its file."""
        for path in sorted(path for source in self.sources for path in source.rglob("*.py")):
            parts = path.relative_to(self.source.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def requirement_name(requirement: str) -> str:
    """The normalised distribution name of a requirement."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


@functools.cache
def root_project() -> dict[str, Any]:
    return read_toml(ROOT / "pyproject.toml")


@functools.cache
def rooms() -> tuple[Room, ...]:
    """Every room, those outside the uv workspace too."""
    globs = root_project()["tool"]["uv"]["workspace"]["members"]
    found = [path for glob in globs for path in sorted(ROOT.glob(f"{glob}/pyproject.toml"))]
    return tuple(Room(path.parent, read_toml(path)) for path in found)


def members() -> tuple[Room, ...]:
    """The rooms of the uv workspace."""
    excluded = root_project()["tool"]["uv"]["workspace"]["exclude"]
    return tuple(room for room in rooms() if room.where not in excluded)


def is_installed(room: Room) -> bool:
    return importlib.util.find_spec(room.package) is not None


def kit_guides() -> list[Path]:
    """The guides beside the kits, for authors of plugins; those of a room are among its `pages`."""
    return sorted((ROOT / "plugins-contrib/guides").glob("*.md"))


def make_importable() -> list[str]:
    """Let rooms that are not installed here be imported from their sources. Returns the folders added."""
    absent = [str(room.source.parent) for room in rooms() if not is_installed(room)]
    sys.path += absent
    return absent


def plugins() -> tuple[Room, ...]:
    return tuple(room for room in rooms() if room.is_plugin)


def text_files() -> Iterator[Path]:
    """Every file of the repository that a person wrote, without what tools and builds leave."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part not in (".ci", ".github", ".gitignore") for part in parts)
        if hidden or NOT_OURS & set(parts) or not path.is_file():
            continue
        if path.suffix in TEXT or "." not in path.name:
            yield path
