"""Every example of every README and guide runs.

A README, or a guide in a room's folder `guides`, is played from top to bottom, in a folder of its own that
holds nothing but a link to each folder of `tests/examples` that it names:

* a block marked `python` runs by itself, as a program of its own, and must end well;
* a block marked `LANGUAGE FILE` (with a file name after the language) is written to that file;
* a block marked `console` holds commands, each after `$ `, continued after a backslash at the end of a line.
  `mlsrv start` starts a server, which is there until the next `mlsrv start` or the end; the lines below it
  are not compared, and neither is run what stands before it on its line (`pip install … && uv run mlsrv start
  …`). Other `mlsrv` commands, `python` and `curl` run and must print the lines below them, if there are any:
  JSON is compared as JSON, and in other text `...` stands for anything. Behind a `>` they write a file.
  `rm -r FOLDER` removes it. `pip`, `uv`, `uvx` and `git` do not run;
* every other block is only shown.

Port 8080 of this machine stands for a free port, everywhere.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from snippets import Player
from workspace import ROOT, is_installed, kit_guides, rooms, text_files

ABSENT = {room.folder for room in rooms() if not is_installed(room)}
"""Rooms with a heavy framework: their examples run in the session that has it."""

TOGETHER = ROOT / "tests/examples/multi-model"
if any(not is_installed(room) for room in rooms() if (TOGETHER / room.folder.name).is_dir()):
    ABSENT.add(TOGETHER)

READMES = [path for path in text_files() if path.name == "README.md" and path.parent not in ABSENT]
GUIDES = [page for room in rooms() if room.folder not in ABSENT for page in room.pages()[1:]]
GUIDES += kit_guides()


def name_of(page: Path) -> str:
    """Return the folder of a README, or the path of a guide, as the name of its test."""
    where = page.relative_to(ROOT)
    return (where.parent if page.name == "README.md" else where.with_suffix("")).as_posix()


OTHER_PORTS = {
    variable: "0"
    for package, variable in {
        "mlsrv_grpc": "MLSRV_GRPC_PORT",
        "mlsrv_prometheus": "MLSRV_METRICS_PORT",
    }.items()
    if importlib.util.find_spec(package) is not None
}
"""Installed transports that no example uses take any port; a variable of an absent one is an error."""


@pytest.fixture
def player(tmp_path: Path, free_port: int) -> Iterator[Player]:
    folder = tmp_path / "reader"
    folder.mkdir()
    playing = Player(folder, free_port, variables=OTHER_PORTS)
    yield playing
    if playing.server is not None:
        playing.server.kill()
        playing.server.wait(timeout=15)


@pytest.mark.parametrize("readme", [*READMES, *GUIDES], ids=name_of)
def test_the_examples_of_a_readme(readme: Path, player: Player) -> None:
    player.play(readme.read_text(encoding="utf-8"))
    player.stop()


def test_a_wrong_example_is_noticed(player: Player) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        player.play("```python\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match="not known here"):
        player.play("```console\n$ sudo mlsrv\n```\n")
    with pytest.raises(AssertionError, match="expected"):
        player.play("```console\n$ python -c 'print(\"one\")'\ntwo\n```\n")


def test_files_and_commands(player: Player) -> None:
    text = "```python hello.py\nprint('hello', 'you')\n```\n```console\n$ python hello.py\nhello ...\n```\n"
    assert player.play(text + "```json\n{\n```\n") == 2
