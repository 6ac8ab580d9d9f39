"""Every Dockerfile, written or generated, and hadolint."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from programs import Run, run

from workspace import text_files

HADOLINT = str(Path(sys.executable).with_name("hadolint"))
WRITTEN = [path for path in text_files() if path.name == "Dockerfile"]


def lint(file: Path) -> str:
    done = run(HADOLINT, "--no-color", str(file))
    return done.stdout + done.stderr


@pytest.mark.parametrize("file", WRITTEN, ids=lambda path: path.parent.name)
def test_a_dockerfile_of_the_repository(file: Path) -> None:
    assert lint(file) == ""


@pytest.mark.parametrize("requirements", [False, True])
def test_a_dockerfile_of_a_folder(requirements: bool, tmp_path: Path, mlsrv: Run) -> None:
    folder = tmp_path / 'the "models"; rm'
    folder.mkdir()
    settings = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel"}
    (folder / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
    if requirements:
        (folder / "requirements.txt").write_text("attrs==26.1.0\n", encoding="utf-8")
    assert mlsrv("dockerfile", str(folder), "--write").returncode == 0
    assert lint(folder / "Dockerfile") == ""


def test_the_linter_finds_something(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM python\nRUN pip install x\nCMD mlsrv start\n", encoding="utf-8")
    found = lint(file)
    assert "DL3006" in found
    assert "DL3025" in found
