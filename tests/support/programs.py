"""Programs that are run to their end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, env=os.environ | variables
    )
