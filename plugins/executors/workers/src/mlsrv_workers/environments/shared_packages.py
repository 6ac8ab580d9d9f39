"""Shared packages: the packages that a worker in a model's environment gets from the server's environment."""

from __future__ import annotations

import re
import sys
from collections.abc import Container, Iterable
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, distribution, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlsrv.plugins.markers import PROJECT

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

BEFORE_3_11 = {"exceptiongroup": ("exceptiongroup",)}
"""Those that are needed beside them before Python 3.11."""

FALLBACK = ("numpy",)
"""Packages that the pinned packages import in any version; those of the environment come first."""

STAND_INS = {
    "orjson": ("orjson", "3.11.6", "mlsrv_workers.worker.plain_json"),
    "pysimdjson": ("simdjson", "7.0.2", "mlsrv_workers.worker.plain_simdjson"),
}
"""Compiled distributions of which the server's version is of no use to another Python: the package, the least
version that the environment must have of it, and the module that the pinned packages import otherwise."""

OWN_VERSION = sys.version_info[:2]
"""Python's minor version here."""


def import_plan(version: tuple[int, int], packages: Iterable[str]) -> dict[str, Any]:
    """Return the part of the plan of `mlsrv_workers.worker.boot` that says where packages come from.

    Args:
        version: Python's minor version in the environment.
        packages: packages of plugins.
    """
    pinned = folders((*PINNED, *packages))
    if version == OWN_VERSION:
        newest = {name: _version_and_folders(name, found) for name, found in NEWEST.items() if _has(name)}
        return {
            "pinned": pinned,
            "distributions": plugin_metadata(pinned),
            "newest": newest,
            "fallback": folders(FALLBACK),
            "adapt": False,
            "stand_ins": {},
            "required": {},
        }
    wanted = {name: found for name, found in NEWEST.items() if name not in STAND_INS}
    if version < (3, 11):
        wanted |= BEFORE_3_11
    lent = {name for name in wanted if _has(name) and runs_on(distribution(name), version)}
    return {
        "pinned": pinned,
        "distributions": plugin_metadata(pinned),
        "newest": {name: _version_and_folders(name, wanted[name]) for name in wanted if name in lent},
        "fallback": {},
        "adapt": True,
        "stand_ins": STAND_INS,
        "required": {name: name for name in FALLBACK}
        | {name: wanted[name][-1] for name in wanted if name not in lent},
    }


def runs_on(found: Distribution, version: tuple[int, int]) -> bool:
    """Return True if an installed distribution is pure Python and supports this minor version of it."""
    compiled = any(file.name.endswith(tuple(EXTENSION_SUFFIXES)) for file in found.files or ())
    least = re.search(r">=?\s*3\.(\d+)", found.metadata["Requires-Python"] or "")
    return not compiled and (least is None or (3, int(least[1])) <= version)


def plugin_metadata(packages: Container[str]) -> list[str]:
    """Return the folders of the metadata of installed plugins in these packages, which tell what they are."""
    points = [point for point in entry_points(group=PROJECT) if point.module.partition(".")[0] in packages]
    found = {point.dist.name: point.dist for point in points if point.dist is not None}
    files = [file for plugin in found.values() for file in plugin.files or () if file.name == "METADATA"]
    return [str(Path(str(file.locate())).parent) for file in files]


def folders(packages: Iterable[str]) -> dict[str, str]:
    """Return the folder that contains each of the installed packages."""
    found = {name: find_spec(name) for name in packages}
    return {
        name: str(_folder(Path(spec.origin), spec.submodule_search_locations is not None))
        for name, spec in found.items()
        if spec is not None and spec.origin is not None
    }


def _version_and_folders(name: str, packages: Iterable[str]) -> tuple[str, dict[str, str]]:
    return distribution(name).version, folders(packages)


def _has(name: str) -> bool:
    """Return True if a distribution is installed here, with its packages."""
    packages = NEWEST.get(name) or BEFORE_3_11[name]
    return all(find_spec(package) is not None for package in packages)


def _folder(origin: Path, is_package: bool) -> Path:
    return origin.parent.parent if is_package else origin.parent
