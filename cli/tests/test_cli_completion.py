"""Shell completion."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts(mlsrv, shell: str, tmp_path: Path) -> None:
    done = mlsrv("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_MLSRV_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell):  # every shell that is here must be able to read its script
        (tmp_path / "script").write_text(done.stdout)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True, timeout=30)


def test_another_shell(mlsrv) -> None:
    done = mlsrv("completion", "tcsh")
    assert done.returncode == 2
    assert "tcsh" in done.stderr


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("mlsrv s", {"start"}),
        ("mlsrv c", {"completion", "config"}),
        ("mlsrv i", {"infer", "init"}),
        ("mlsrv config ", {"show", "check"}),
        ("mlsrv start . --max-in", {"--max-in-flight", "--max-in-flight-bytes"}),
        ("mlsrv start . --log-format ", {"text", "json"}),
        ("mlsrv start . --plugin nowhere.py --log-f", {"--log-format"}),
    ],
)
def test_completion_offers_commands_and_options(mlsrv, words: str, wanted: set[str]) -> None:
    env = {
        "_MLSRV_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = mlsrv(env=env)
    assert done.stderr == ""
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == wanted
