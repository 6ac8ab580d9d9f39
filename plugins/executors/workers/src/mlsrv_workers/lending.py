"""What a worker in another environment gets from the server's: our packages, and what they need if it lacks
that."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

OURS = ("mlsrv", "mlsrv_protocol", "mlsrv_workers")
"""Packages that must be those of the server, beside its plugins."""

NEEDED = (
    "attr",
    "attrs",
    "cattr",
    "cattrs",
    "csimdjson",
    "numpy",
    "orjson",
    "pluggy",
    "simdjson",
    "typing_extensions",
)
"""What our packages import; the environment's own come first."""


def folders(packages: Iterable[str]) -> dict[str, str]:
    """The folder in which each package lies, of those that are installed."""
    found = {name: find_spec(name) for name in packages}
    return {
        name: str(_folder(Path(spec.origin), spec.submodule_search_locations is not None))
        for name, spec in found.items()
        if spec is not None and spec.origin is not None
    }


def _folder(origin: Path, is_package: bool) -> Path:
    return origin.parent.parent if is_package else origin.parent
