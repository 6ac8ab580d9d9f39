"""What is published works: wheels, installed away from this repository, serve as the READMEs say."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest

from snippets import Player
from workspace import ROOT, Room, members, requirement_name, root_project

# Building and installing happen in fixtures, and the first time needs downloads.
pytestmark = pytest.mark.timeout(600)


def uv(*arguments: str, cwd: Path = ROOT) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution of the workspace."""
    folder = tmp_path_factory.mktemp("wheels")
    uv("build", "--quiet", "--wheel", "--all-packages", "--out-dir", str(folder))
    return {requirement_name(path.name.partition("-")[0]): path for path in folder.glob("*.whl")}


def needed(*distributions: str) -> set[str]:
    """Our own distributions among these and everything that they depend on."""
    direct = {room.distribution: room.requirements for room in members()}
    found: set[str] = set()
    ahead = list(distributions)
    while ahead:
        name = ahead.pop()
        if name in direct and name not in found:
            found.add(name)
            ahead += direct[name]
    return found


def installed(wheels: dict[str, Path], folder: Path, *distributions: str) -> Path:
    """Make an environment with these distributions, all ours from wheels. Returns its folder of programs."""
    home = folder / "environment"
    uv("venv", "--quiet", "--python", sys.executable, str(home), cwd=folder)
    ours = [str(wheels[name]) for name in sorted(needed(*distributions))]
    uv("pip", "install", "--quiet", "--python", str(home), *ours, cwd=folder)
    return home / "bin"


DEFAULT_SET = [requirement_name(text) for text in root_project()["project"]["dependencies"]]


@pytest.fixture
def player(tmp_path: Path, free_port: int) -> Iterator[Player]:
    """Plays a README in an empty folder; the environment is still to be given."""
    folder = tmp_path / "reader"
    folder.mkdir()
    playing = Player(folder, free_port)
    yield playing
    if playing.server is not None:
        playing.server.kill()
        playing.server.wait(timeout=15)


def test_every_distribution_has_a_wheel(wheels: dict[str, Path]) -> None:
    assert set(wheels) == {"mlsrv", *(room.distribution for room in members())}


@pytest.mark.parametrize("room", members(), ids=lambda room: room.where)
def test_a_wheel_holds_its_package_and_nothing_else(room: Room, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[room.distribution]) as wheel:
        names = wheel.namelist()
        metadata = wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    code = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert code == {room.package}
    sources = {path.relative_to(room.source.parent).as_posix() for _, path in room.modules()}
    assert sources <= set(names)
    assert not [name for name in names if "/tests/" in name or "__pycache__" in name]
    assert Parser().parsestr(metadata)["Version"] == room.project["project"]["version"]


def test_the_meta_distribution_holds_no_files(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["mlsrv"]) as wheel:
        assert all(".dist-info/" in name for name in wheel.namelist())


def left_in_shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_the_first_command_of_the_readme(wheels: dict[str, Path], player: Player, tmp_path: Path) -> None:
    player.programs = installed(wheels, tmp_path, *DEFAULT_SET, "mlsrv-sklearn")
    shared = left_in_shared_memory()
    assert player.play((ROOT / "README.md").read_text(encoding="utf-8")) > 0
    server = player.server
    assert server is not None, "the README starts no server"
    player.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)
    assert not player.answers()
    assert left_in_shared_memory() <= shared


def test_the_plugin_of_a_third_party(wheels: dict[str, Path], player: Player, tmp_path: Path) -> None:
    player.programs = installed(wheels, tmp_path, *DEFAULT_SET, "mlsrv-hex")
    assert player.play((ROOT / "plugins-contrib/mlsrv-hex/README.md").read_text(encoding="utf-8")) > 0
    assert player.server is not None, "the README starts no server"
    player.stop()
