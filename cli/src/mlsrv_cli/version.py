"""The version that ``mlsrv --version`` shows."""

from __future__ import annotations

import sys
from importlib.metadata import version


def version_of(distribution: str = "mlsrv-cli") -> str:
    """The version of an installed distribution."""
    return version(distribution)


def version_line() -> str:
    """Everything that a report of a defect needs to say."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"mlsrv {version_of()} (mlsrv-core {version_of('mlsrv-core')}, Python {python})"
