"""What ``mlsrv init`` makes: installed in an environment of its own, it passes its tests, the lint, the build
and the check, and its README is true."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlsrv_cli.scaffold import LONGEST, PLUGIN_KINDS, plugin_files, write_folder
from snippets import Player

# Building and installing happen in fixtures, and the first time needs downloads.
pytestmark = pytest.mark.timeout(600)

RUFF = Path(sys.executable).with_name("ruff")


@pytest.fixture(scope="module")
def programs(installed: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the default set and the kits of plugin authors, where plugins come and go."""
    return installed(tmp_path_factory.mktemp("author"), "mlsrv-runtime-kit", "mlsrv-testing")


def run(command: list[str | Path], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def assert_clean(folder: Path) -> None:
    run([RUFF, "check", "--no-cache", "."], folder)
    run([RUFF, "format", "--no-cache", "--check", "."], folder)


def play(player: Player, readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    assert player.play(text.replace(":9090", f":{player.port + 1}")) > 0
    assert player.server is not None, "the README starts no server"
    player.stop()


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_a_new_plugin(
    programs: Path, player: Player, uv: Callable[..., None], tmp_path: Path, kind: str
) -> None:
    run([programs / "mlsrv", "init", "plugin", kind, "try-it"], tmp_path)
    folder = tmp_path / "mlsrv-try-it"
    assert_clean(folder)
    uv("pip", "install", "--quiet", "--python", str(programs / "python"), "-e", str(folder), cwd=tmp_path)
    try:
        assert "failed" not in run([programs / "python", "-m", "pytest", "-q"], folder)
        report = run([programs / "mlsrv", "plugins", "check", "try-it"], tmp_path)
        assert "Every case that was run passed." in report
        assert f"{kind} try-it: it needs" not in report
        player.programs = programs
        play(player, folder / "README.md")
        uv("build", "--quiet", "--out-dir", str(tmp_path / "dist"), str(folder), cwd=tmp_path)
    finally:
        uv("pip", "uninstall", "--quiet", "--python", str(programs / "python"), "mlsrv-try-it", cwd=tmp_path)
    assert {path.name for path in (tmp_path / "dist").glob("mlsrv*")} == {
        "mlsrv_try_it-0.1.0-py3-none-any.whl",
        "mlsrv_try_it-0.1.0.tar.gz",
    }


def test_a_new_model(programs: Path, player: Player) -> None:
    player.programs = programs
    folder = player.folder
    run([programs / "mlsrv", "init", "model", "try-it", "--path", folder], folder.parent)
    assert_clean(folder)
    assert "2 passed" in run([programs / "python", "-m", "pytest", "-q"], folder)
    play(player, folder / "README.md")


def test_names_of_any_length_keep_the_lint_green(tmp_path: Path) -> None:
    for kind in PLUGIN_KINDS:
        for name in ("x", "a-b-" * (LONGEST // 4) + "c", "x" * LONGEST):
            write_folder(tmp_path / f"{kind}-{name}", plugin_files(kind, name), lambda file: None)
    assert_clean(tmp_path)
