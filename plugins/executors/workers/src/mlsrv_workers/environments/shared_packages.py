"""Shared packages: the packages that a worker in a model's environment gets from the server's environment."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

PINNED = (
    "mlsrv",
    "mlsrv_arguments",
    "mlsrv_executor_kit",
    "mlsrv_hosting_kit",
    "mlsrv_protocol",
    "mlsrv_runtime_kit",
    "mlsrv_settings_kit",
    "mlsrv_telemetry_kit",
    "mlsrv_workers",
)
"""Packages that always come from the server, where it has them, besides those of its plugins: the
kernel, and the kits that models and runtimes import."""

NEWEST = {
    "attrs": ("attr", "attrs"),
    "cattrs": ("cattr", "cattrs"),
    "orjson": ("orjson",),
    "pluggy": ("pluggy",),
    "pysimdjson": ("csimdjson", "simdjson"),
    "typing-extensions": ("typing_extensions",),
}
"""Distributions that the pinned packages import, and their packages.

The newer of the server's and the environment's version is used, because an older one may lack features that
the server or the model needs.
"""

FALLBACK = ("numpy",)
"""Packages that the pinned packages import in any version; those of the environment come first."""


def folders(packages: Iterable[str]) -> dict[str, str]:
    """Return the folder that contains each of the installed packages."""
    found = {name: find_spec(name) for name in packages}
    return {
        name: str(_folder(Path(spec.origin), spec.submodule_search_locations is not None))
        for name, spec in found.items()
        if spec is not None and spec.origin is not None
    }


def newest() -> dict[str, tuple[str, dict[str, str]]]:
    """Return the installed version of each distribution in `NEWEST`, and the folders of its packages."""
    found = {distribution: folders(packages) for distribution, packages in NEWEST.items()}
    return {name: (version(name), packages) for name, packages in found.items() if packages}


def _folder(origin: Path, is_package: bool) -> Path:
    return origin.parent.parent if is_package else origin.parent
