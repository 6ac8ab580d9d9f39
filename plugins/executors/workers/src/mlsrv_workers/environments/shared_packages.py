"""What a worker in another environment gets from the server's: our packages, and what they need."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

OURS = ("mlsrv", "mlsrv_protocol", "mlsrv_workers")
"""Packages that must be those of the server, beside its plugins."""

NEEDED = {
    "attrs": ("attr", "attrs"),
    "cattrs": ("cattr", "cattrs"),
    "orjson": ("orjson",),
    "pluggy": ("pluggy",),
    "pysimdjson": ("csimdjson", "simdjson"),
    "typing-extensions": ("typing_extensions",),
}
"""Distributions that ours import, and their packages: of the server's and the environment's the newer serves,
for an older one may lack what our code, or the model's, needs."""

LENT = ("numpy",)
"""Packages that ours import in any version; the environment's own come first."""


def folders(packages: Iterable[str]) -> dict[str, str]:
    """The folder in which each package lies, of those that are installed."""
    found = {name: find_spec(name) for name in packages}
    return {
        name: str(_folder(Path(spec.origin), spec.submodule_search_locations is not None))
        for name, spec in found.items()
        if spec is not None and spec.origin is not None
    }


def needed() -> dict[str, tuple[str, dict[str, str]]]:
    """The version of each distribution of `NEEDED` that is installed, and where its packages lie."""
    found = {distribution: folders(packages) for distribution, packages in NEEDED.items()}
    return {name: (version(name), packages) for name, packages in found.items() if packages}


def _folder(origin: Path, is_package: bool) -> Path:
    return origin.parent.parent if is_package else origin.parent
