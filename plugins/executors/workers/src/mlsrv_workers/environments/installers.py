"""Installers: build virtual environments from lists of requirements."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mlsrv_workers.environments.run_program import run_program


async def install(
    requirements: Path, folder: Path, progress: Callable[[str], None], descriptors: Sequence[int] = ()
) -> None:
    """Build a virtual environment with the server's interpreter, by uv if installed, else by venv and pip.

    Args:
        requirements: a ``requirements.txt``; relative paths in it start in its folder.
        folder: an empty folder, which becomes the environment.
        progress: called with each line that the installer prints.
        descriptors: descriptors that the installer inherits.

    Raises:
        OSError: the installer cannot be started.
        ValueError: the installer fails; with its last lines.
    """
    run = partial(run_program, progress=progress, folder=requirements.parent, descriptors=descriptors)
    python = str(folder / "bin" / "python")
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None:
        await run([uv, "venv", "--allow-existing", "--python", sys.executable, str(folder)])
        await run([uv, "pip", "install", "--python", python, "-r", str(requirements)])
    else:
        await run([sys.executable, "-m", "venv", str(folder)])
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
        await run([*pip, "-r", str(requirements)])
