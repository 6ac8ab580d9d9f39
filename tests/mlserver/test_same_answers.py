"""The models in public idioms, served by MLServer and by mlsrv from the same folder.

With the variable ``WRITE_ANSWERS``, the answers of MLServer are written down, for the tests of the room.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlserver_folders import DIFFERENCES, IDIOMS, TRUTH, ask_everything, truth, write

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def asked(mlserver_home: Path) -> dict[str, Any]:
    """The requests of the idioms, by a program in MLServer's environment."""
    program = "import json, idioms; print(json.dumps([idioms.REQUESTS, idioms.HANDLERS]))"
    done = subprocess.run(
        [str(mlserver_home / "bin/python"), "-W", "ignore", "-c", program],
        cwd=IDIOMS.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    requests, handlers = json.loads(done.stdout.splitlines()[-1])
    return {"requests": requests, "handlers": handlers}


@pytest.fixture(scope="module")
def answers(
    asked: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    serve_mlserver: Callable[..., Any],
    serve_mlsrv: Callable[..., Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answers of MLServer and of mlsrv."""
    folder = tmp_path_factory.mktemp("idioms") / "models"
    write(folder, asked["requests"], parallel_workers=0)
    with serve_mlserver(folder) as where:
        theirs = ask_everything(f"http://{where['http']}", asked)
    with serve_mlsrv(folder) as where:
        ours = ask_everything(f"http://{where['http']}", asked)
    return theirs, ours


def test_the_answers_are_the_same(answers: tuple[dict[str, Any], dict[str, Any]]) -> None:
    theirs, ours = answers
    assert len(theirs) > 100
    different = {name for name, answer in theirs.items() if ours[name] != answer}
    assert different == set(DIFFERENCES)


def test_the_answers_that_were_written_down_are_those_of_mlserver(
    answers: tuple[dict[str, Any], dict[str, Any]], asked: dict[str, Any]
) -> None:
    found = asked | {"answers": answers[0]}
    if "WRITE_ANSWERS" in os.environ:
        TRUTH.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert json.loads(json.dumps(found)) == truth()
