"""What is published works: wheels, installed away from this repository, serve as the READMEs say."""

import os
import shutil
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest

from snippets import BLOCK, Player
from workspace import ROOT, Room, rooms

# Building and installing happen in fixtures, and the first time needs downloads.
pytestmark = pytest.mark.timeout(600)


def test_every_distribution_has_a_wheel(wheels: dict[str, Path]) -> None:
    assert set(wheels) == {"mlsrv", *(room.distribution for room in rooms())}


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.where)
def test_a_wheel_holds_its_package_and_nothing_else(room: Room, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels[room.distribution]) as wheel:
        names = wheel.namelist()
        metadata = wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    code = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert code == {source.name for source in room.sources}
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


def test_the_first_command_of_the_readme(
    installed: Callable[..., Path], player: Player, tmp_path: Path
) -> None:
    player.programs = installed(tmp_path, "mlsrv-sklearn")
    shared = left_in_shared_memory()
    assert player.play((ROOT / "README.md").read_text(encoding="utf-8")) > 0
    server = player.server
    assert server is not None, "the README starts no server"
    player.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)
    assert not player.answers()
    assert left_in_shared_memory() <= shared


def test_the_runtime_of_the_guide(
    installed: Callable[..., Path], uv: Callable[..., None], player: Player, tmp_path: Path
) -> None:
    """As a distribution that is built and installed from what the guide writes down."""
    blocks = list(BLOCK.finditer((ROOT / "plugins-contrib/README.md").read_text(encoding="utf-8")))
    player.programs = installed(tmp_path, "mlsrv-runtime-kit", "mlsrv-testing")
    assert player.play("\n".join(block.group() for block in blocks if block["file"])) > 0
    uv("pip", "install", "--quiet", "--python", str(player.programs / "python"), ".", cwd=player.folder)
    shutil.rmtree(player.folder / "mlsrv_keywords")
    (commands,) = [block.group() for block in blocks if "mlsrv start spam" in block["text"]]
    player.play(commands.replace(" --plugin mlsrv_keywords/plugin.py", ""))
    assert player.server is not None
    player.stop()


def test_the_plugin_of_a_third_party(installed: Callable[..., Path], player: Player, tmp_path: Path) -> None:
    player.programs = installed(tmp_path, "mlsrv-hex")
    assert player.play((ROOT / "plugins-contrib/mlsrv-hex/README.md").read_text(encoding="utf-8")) > 0
    assert player.server is not None, "the README starts no server"
    player.stop()
