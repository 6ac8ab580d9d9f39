"""Wheels of every room, and environments that they are installed in."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snippets import Player
from workspace import ROOT, members, requirement_name, rooms, root_project


@pytest.fixture(scope="session")
def uv() -> Callable[..., None]:
    """Runs uv to its good end, without the environment of these tests."""

    def run(*arguments: str, cwd: Path = ROOT) -> None:
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

    return run


@pytest.fixture(scope="session")
def wheels(uv: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution, those outside the workspace included."""
    folder = tmp_path_factory.mktemp("wheels")
    uv("build", "--quiet", "--wheel", "--all-packages", "--out-dir", str(folder))
    for room in set(rooms()).difference(members()):
        uv("build", "--quiet", "--wheel", "--out-dir", str(folder), room.where)
    return {requirement_name(path.name.partition("-")[0]): path for path in folder.glob("*.whl")}


def needed(*distributions: str) -> set[str]:
    """Our own distributions among these and everything that they depend on."""
    direct = {
        room.distribution: [
            requirement_name(text) for text in room.project["project"].get("dependencies", ())
        ]
        for room in members()
    }
    found: set[str] = set()
    ahead = list(distributions)
    while ahead:
        name = ahead.pop()
        if name in direct and name not in found:
            found.add(name)
            ahead += direct[name]
    return found


@pytest.fixture(scope="session")
def installed(uv: Callable[..., None], wheels: dict[str, Path]) -> Callable[..., Path]:
    """Makes an environment in a folder, with the default set and further distributions, ours from wheels.
    Returns its folder of programs."""
    default = [requirement_name(text) for text in root_project()["project"]["dependencies"]]

    def make(folder: Path, *more: str) -> Path:
        home = folder / "environment"
        uv("venv", "--quiet", "--python", sys.executable, str(home), cwd=folder)
        ours = needed(*default, *more)
        parts = [str(wheels[name]) for name in sorted(ours)] + [name for name in more if name not in ours]
        uv("pip", "install", "--quiet", "--python", str(home), *parts, cwd=folder)
        return home / "bin"

    return make


@pytest.fixture
def player(tmp_path: Path, free_port: int) -> Iterator[Player]:
    """Plays a README in an empty folder; the environment is still to be given."""
    folder = tmp_path / "reader"
    folder.mkdir()
    playing = Player(folder, free_port, variables={"MLSRV_GRPC_PORT": "0", "MLSRV_METRICS_PORT": "0"})
    yield playing
    if playing.server is not None:
        playing.server.kill()
        playing.server.wait(timeout=15)
