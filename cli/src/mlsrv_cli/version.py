"""Version: the line that ``mlsrv --version`` prints."""

from __future__ import annotations

import sys
from importlib.metadata import version


def version_of(distribution: str = "mlsrv-cli") -> str:
    """Return the version of an installed distribution."""
    return version(distribution)


def version_line() -> str:
    """Return the versions and the platform that a defect report needs."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"mlsrv {version_of()} (mlsrv-core {version_of('mlsrv-core')}, Python {python})"
