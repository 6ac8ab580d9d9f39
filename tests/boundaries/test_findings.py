"""Every finding is a script of the form that findings/README.md states."""

import os
import re
from pathlib import Path

import pytest

from workspace import ROOT

FINDINGS = ROOT / "findings"
SCRIPTS = sorted(path for path in FINDINGS.iterdir() if path.name != "README.md")

INSTALL = re.compile(r"^uv pip install (?P<words>(?:.*\\\n)*.*)$", re.MULTILINE)
PINNED = re.compile(r"[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==[0-9][\w.+]*")


def head_of(text: str) -> str:
    """Return the comment at the beginning of a script."""
    lines = text.split("\n")
    return "\n".join(lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_finding_has_the_form(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    head = head_of(text)
    assert os.access(script, os.X_OK), "it is not executable"
    assert text.startswith("#!/usr/bin/env bash\n")
    for part in ("Guess:", "What happens:"):
        assert re.search(rf"^# {part} \S", head, re.MULTILINE), (
            f"its head has no line that begins with {part}"
        )
    body = text.removeprefix(head).strip("\n")
    assert body.startswith("set -eu\n")
    assert re.search(r"^folder=\$\(mktemp -d\)\ntrap 'rm -rf \"\$folder\"' EXIT$", body, re.MULTILINE)
    assert "mlsrv" not in body, "a finding uses nothing of mlsrv"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_finding_installs_pinned_versions_into_its_folder(script: Path) -> None:
    installs = [match["words"] for match in INSTALL.finditer(script.read_text(encoding="utf-8"))]
    assert installs, "it installs nothing"
    for words in installs:
        options, _, requirements = words.replace("\\\n", " ").partition('--python "$folder/python" ')
        assert options.strip() in ("", "--quiet"), "it installs into another environment"
        assert requirements.split()
        assert [word for word in requirements.split() if not PINNED.fullmatch(word)] == []


def test_the_readme_lists_every_finding() -> None:
    text = (FINDINGS / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[(\S+)\]\(\1\): ", text, re.MULTILINE) == [path.name for path in SCRIPTS]
