"""The repository holds what its plan names, and speaks of itself alone."""

import re

from workspace import NOT_OURS, ROOT, rooms, root_project, text_files

TOP_LEVEL = {
    "LICENSE",
    "README.md",
    "cli",
    "core",
    "findings",
    "noxfile.py",
    "plugins",
    "plugins-contrib",
    "protocol",
    "pyproject.toml",
    "tests",
}

FOREIGN = re.compile(
    r"(?<![\w.~])/(?:work|root|home|Users)/\w"  # folders of one machine
    r"|--(?:extra-)?index-url|--find-links|\bindex-url\b|/simple\b|files\.pythonhosted"  # package indexes
    r"|\bissue \d+\b|\bblueprint\b"  # the papers of its makers
)


def test_the_top_level() -> None:
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")} - NOT_OURS
    assert found == TOP_LEVEL


def test_no_text_names_a_machine_or_an_index() -> None:
    this = ROOT / "tests/boundaries/test_top_level.py"
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in text_files()
        if path != this
        for match in FOREIGN.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_tools_are_set_in_one_place_and_no_index_is() -> None:
    assert "index" not in root_project()["tool"]["uv"]
    assert "index-url" not in root_project()["tool"]["uv"]
    names = {
        "setup.cfg",
        "tox.ini",
        "pytest.ini",
        "mypy.ini",
        ".ruff.toml",
        "ruff.toml",
        "setup.py",
        "uv.toml",
    }
    assert [path for path in text_files() if path.name in names] == []
    for room in rooms():
        assert set(room.project.get("tool", {})) <= {"hatch"}, room.where
