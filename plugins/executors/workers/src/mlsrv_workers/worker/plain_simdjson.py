"""Plain simdjson: stands for the compiled package of that name where there is none; it parses nothing.

The general parser takes what it refuses.
"""

from __future__ import annotations

from typing import Any


class Array:
    """Never made."""


class Object:
    """Never made."""


class Parser:
    """Refuses every text."""

    def parse(self, text: Any) -> Any:
        """Raise ValueError."""
        raise ValueError("this text is for the general parser")
