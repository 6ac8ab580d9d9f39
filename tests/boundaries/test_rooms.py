"""Every room looks the same, and the lists in the root's pyproject.toml are those of the folders."""

import re

import pytest

from renew import PROJECT, with_lists
from workspace import ROOT, Room, plugins, requirement_name, rooms, root_project

KINDS = {
    "codecs",
    "compat",
    "executors",
    "interceptors",
    "repositories",
    "runtimes",
    "security",
    "telemetry",
    "transports",
}
DEFAULT_SET = {
    "mlsrv-arguments",
    "mlsrv-batching",
    "mlsrv-classification",
    "mlsrv-cli",
    "mlsrv-core",
    "mlsrv-files",
    "mlsrv-grpc",
    "mlsrv-numpy",
    "mlsrv-prometheus",
    "mlsrv-rest",
    "mlsrv-text",
    "mlsrv-workers",
}
OURS = [room for room in rooms() if not room.where.startswith("plugins-contrib/")]

each_room = pytest.mark.parametrize("room", OURS, ids=lambda room: room.where)
each_plugin = pytest.mark.parametrize("room", plugins(), ids=lambda room: room.where)


@each_room
def test_the_project_table(room: Room) -> None:
    project = room.project["project"]
    assert project["version"] == root_project()["project"]["version"]
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == root_project()["project"]["requires-python"]
    assert project["readme"] == "README.md"
    assert len(project["description"]) >= 20
    assert room.project["build-system"]["build-backend"] == "hatchling.build"


@each_room
def test_requirements_have_a_floor_and_no_ceiling(room: Room) -> None:
    ours = {other.distribution for other in rooms()}
    for requirement in room.project["project"].get("dependencies", ()):
        if requirement_name(requirement) not in ours:
            versions = requirement.partition(";")[0]
            assert ">=" in versions, requirement
            assert not {"==", "<", "~="} & set(re.findall(r"==|<|~=", versions)), requirement


@each_room
def test_the_folder(room: Room) -> None:
    assert (room.source / "py.typed").is_file()
    assert (room.folder / "README.md").is_file()
    assert list((room.folder / "tests").glob("test_*.py"))
    assert not list((room.folder / "tests").rglob("__init__.py"))
    assert {path.name for path in (room.folder / "src").iterdir() if path.is_dir()} == {
        source.name for source in room.sources
    }
    assert len(room.sources) == 1 or room.stands_in


@each_plugin
def test_the_names_of_a_plugin(room: Room) -> None:
    name = room.folder.name
    assert room.folder.parent.name in KINDS
    assert room.distribution == f"mlsrv-{name}"
    assert room.package == f"mlsrv_{name.replace('-', '_')}"
    assert room.entry_points == {name: f"{room.package}.plugin"}
    assert (room.source / "plugin.py").is_file()


@each_plugin
def test_the_readme_of_a_plugin(room: Room) -> None:
    text = (room.folder / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert text.startswith(f"# {room.distribution}\n")
    assert "Install" in headings
    assert "Settings" in headings
    assert any(heading.startswith("Example") for heading in headings)
    assert f"pip install {room.distribution}" in text


def test_the_lists_of_the_root_are_those_of_the_folders() -> None:
    text = PROJECT.read_text(encoding="utf-8")
    assert text == with_lists(text), "renew them: python tests/support/renew.py"


def test_the_default_set() -> None:
    assert set(root_project()["project"]["dependencies"]) == DEFAULT_SET


def test_what_is_excluded_exists() -> None:
    excluded = root_project()["tool"]["uv"]["workspace"]["exclude"]
    assert set(excluded) <= {room.where for room in rooms()}


def test_the_test_command_is_the_same_everywhere() -> None:
    (command,) = re.findall(
        r"^\$ (.*uvx nox)$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert command in (ROOT / ".ci/run").read_text(encoding="utf-8")
