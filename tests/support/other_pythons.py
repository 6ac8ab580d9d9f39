"""Other Pythons: environments of interpreters whose minor version is not that of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGES = {
    "3.9": ("numpy<1.25", "cattrs", "pluggy"),
    "3.10": ("numpy<2",),
    "3.11": ("numpy",),
    "3.12": ("numpy",),
    "3.13": ("numpy",),
}
"""What an environment must have at least, by Python's minor version."""

OTHERS = [version for version in PACKAGES if version != f"{sys.version_info[0]}.{sys.version_info[1]}"]


def make_environment(folder: Path, version: str, *packages: str) -> Path:
    """Make a virtual environment; skip the test if there is no interpreter of that version."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no interpreter of Python {version} on this machine")
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    subprocess.run([uv, "venv", "-q", "--python", python, str(folder)], check=True, timeout=120)
    if packages:
        install = [uv, "pip", "install", "-q", "--python", str(folder / "bin" / "python"), *packages]
        subprocess.run(install, check=True, timeout=300)
    return folder


@cache
def interpreter(version: str) -> str | None:
    """Return an interpreter of a minor version that runs, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [str(path) for path in pyenv.glob(f"{version}.*/bin/python")]
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for python in filter(None, (*found, shutil.which(f"python{version}"))):
        ran = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60)
        if ran.stdout.strip() == version:
            return python
    return None
