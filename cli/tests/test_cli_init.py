"""``mlsrv init``: what it makes works, and it overwrites nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlsrv.errors import ConfigurationError
from mlsrv_cli import init_command
from mlsrv_cli.scaffold import LONGEST, PLUGIN_KINDS, distribution_of, model_files, plugin_files, write_folder


def pytest_in(folder: Path, environment: dict[str, str]) -> str:
    """Run the tests of a folder as its owner would, its sources being importable as if installed."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:asyncio",
        "-p",
        "no:cacheprovider",
    ]
    whole = environment | {"PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=folder, env=whole, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_a_new_plugin_passes_its_tests(mlsrv, environment: dict[str, str], tmp_path: Path, kind: str) -> None:
    done = mlsrv("init", "plugin", kind, f"my-{kind}")
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / f"mlsrv-my-{kind}"
    told = {line.strip() for line in done.stdout.splitlines()}
    made = {str(path.relative_to(tmp_path)) for path in folder.rglob("*") if path.is_file()}
    assert made <= told
    assert f"{folder.name}/src/mlsrv_my_{kind}/{kind}.py" in made
    assert f"mlsrv plugins check my-{kind}" in told
    assert "passed" in pytest_in(folder, environment)
    assert {path.name for path in tmp_path.iterdir()} == {folder.name}


def test_a_new_model_passes_its_test_and_its_settings_are_right(mlsrv, environment, tmp_path: Path) -> None:
    done = mlsrv("init", "model", "Greeter.2", "--path", "somewhere")
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "somewhere"
    assert json.loads((folder / "model-settings.json").read_text())["name"] == "Greeter.2"
    assert mlsrv("config", "check", folder).returncode == 0
    assert "2 passed" in pytest_in(folder, environment)


def test_an_empty_folder_is_filled(mlsrv, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert mlsrv("init", "model", "m", "--path", "new").returncode == 0
    assert (tmp_path / "new" / "models.py").exists()


def test_folders_on_the_way_are_made(mlsrv, tmp_path: Path) -> None:
    assert mlsrv("init", "plugin", "codec", "new", "--path", "a/b").returncode == 0
    assert (tmp_path / "a" / "b" / "pyproject.toml").exists()


@pytest.mark.parametrize("has_kit", [True, False])
def test_the_steps_for_a_plugin_need_no_pip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_kit: bool
) -> None:
    monkeypatch.setattr(init_command, "find_spec", lambda name: object() if has_kit else None)
    done = CliRunner().invoke(init_command.init, ["plugin", "codec", "new", "--path", str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    step = next(line.strip() for line in done.output.splitlines() if "install" in line)
    assert step.startswith("uv pip install -e . pytest")
    assert ("CLONE/plugins-contrib/mlsrv-testing" in step) is not has_kit


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["model", "full"], "The folder full is not empty; nothing was written."),
        (["model", "file"], "file exists, and is not a folder."),
        (["model", "m", "--path", "file/m"], "file/m cannot be written: Not a directory."),
        (["model", "../m"], "'../m' is no name"),
        (["model", ""], "'' is no name"),
        (["model", "é"], "'é' is no name"),
        (["plugin", "codec", "3d"], "'3d' is no name"),
        (["plugin", "codec", "a b"], "'a b' is no name"),
        (["plugin", "codec", "a-"], "'a-' is no name"),
        (["plugin", "codec", "x" * (LONGEST + 1)], f"longer than {LONGEST} characters"),
        (["plugin", "codec", "Numpy"], 'The name "numpy" is taken: mlsrv-numpy 0.1.0 is installed here.'),
        (["plugin", "codec", "mlsrv-core"], 'The name "core" is taken'),
        (["plugin", "wing", "x"], "'wing' is not one of"),
        (["plugin", "codec"], "Missing argument"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_trace(
    mlsrv, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").write_text("kept")
    (tmp_path / "file").write_text("kept")
    done = mlsrv("init", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path.name for path in tmp_path.rglob("*")} == {"full", "kept", "file"}


def test_names_of_distributions() -> None:
    assert [distribution_of(name) for name in ("rot13", "My_Codec", "mlsrv-a.b")] == [
        "mlsrv-rot13",
        "mlsrv-my-codec",
        "mlsrv-a-b",
    ]


def test_the_kind_is_not_repeated_in_the_names_of_classes() -> None:
    assert "class MyCodec(" in plugin_files("codec", "my-codec")["src/mlsrv_my_codec/codec.py"]
    assert "class CodecCodec(" in plugin_files("codec", "codec")["src/mlsrv_codec/codec.py"]


def test_no_placeholder_is_left() -> None:
    made = [plugin_files(kind, "x") for kind in PLUGIN_KINDS] + [model_files("x")]
    for contents in made:
        for name, text in contents.items():
            assert "${" not in text, name
            assert "$name" not in text, name


def test_a_failure_in_the_middle_leaves_no_trace(tmp_path: Path) -> None:
    def full(name: str) -> None:
        if name == "b":
            raise OSError(28, os.strerror(28))

    with pytest.raises(ConfigurationError, match="No space left"):
        write_folder(tmp_path / "made", {"a": "1", "b": "2", "c": "3"}, full)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "made", {"a": "1"}, _interrupt)
    assert list(tmp_path.iterdir()) == []


def _interrupt(_name: str) -> None:
    raise KeyboardInterrupt
