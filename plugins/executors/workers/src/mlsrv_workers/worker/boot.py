"""Boot: the script that a worker process runs, ``python boot.py PLAN SOCKET MEMORY_IN MEMORY_OUT PARENT``.

It is run by its path and needs nothing but the standard library, so that it can decide where packages come
from before any of them is imported. PLAN is a JSON object:

* `path` replaces ``sys.path`` if it is not null;
* `sites` are added as ``site-packages`` folders are, then `folders` as they are;
* packages in `pinned` (the folder of each, by name) come before all others;
* so do those in `newest` (by distribution: its version, and such packages), unless the environment has the
  distribution in a version that is as new;
* packages in `fallback` come after all others;
* `distributions` are folders of metadata, so that plugins of the server are found as installed.

Without `pinned` nothing but the path changes. If `adapt` is true, the environment's Python is of another
minor version than the server's, from 3.9 on, so that this script may need no newer one:

* distributions in `required` (a package of each) must be in the environment;
* those in `stand_ins` are replaced, for modules of `pinned` packages, where it lacks them or has an old one.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import site
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, PathDistribution, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any


class PackageFinder(MetaPathFinder):
    """Finds single top-level packages in folders whose other contents stay hidden.

    Args:
        folders: the folder of each package, by name.
        distributions: folders of the metadata of distributions that are found, too.
    """

    def __init__(self, folders: Mapping[str, str], distributions: Sequence[str] = ()) -> None:
        self._folders = folders
        self._distributions = [PathDistribution(Path(folder)) for folder in distributions]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folder = self._folders.get(fullname)
        return None if folder is None else PathFinder.find_spec(fullname, [folder])

    def find_distributions(self, context: Any) -> list[PathDistribution]:
        """Return those with the name that `importlib.metadata` looks for, or all."""
        wanted = context.name and re.sub(r"[-_.]+", "-", context.name).lower()
        found = self._distributions
        return [each for each in found if wanted in (None, each.metadata["Name"].lower())]


def main() -> None:
    """Set up imports and run `mlsrv_workers.worker.worker`."""
    plan = json.loads(sys.argv[1])
    if plan["path"] is not None:
        sys.path[:] = plan["path"]
    for folder in plan["sites"]:
        site.addsitedir(folder)
    sys.path += plan["folders"]
    try:
        if "pinned" in plan:
            arrange(plan)
        from mlsrv_workers.worker import worker
    except Exception as error:  # an environment may lack packages or have broken ones
        reason = str(error) if isinstance(error, Lacking) else f"{type(error).__name__}: {error}"
        report_failure(int(sys.argv[2]), f"A worker cannot run in the environment: {reason}")
        if isinstance(error, Lacking):
            sys.exit(1)
        raise
    worker.main(sys.argv[2:])


class Lacking(ImportError):
    """The environment has not what it must have."""


def arrange(plan: Mapping[str, Any]) -> None:
    """Decide where packages come from.

    Raises:
        Lacking: the environment has not what it must have.
    """
    first = dict(plan["pinned"])
    for distribution, (required, packages) in plan["newest"].items():
        if not has_version(distribution, required):
            first.update(packages)
    sys.meta_path.insert(0, PackageFinder(first, plan["distributions"]))
    sys.meta_path.append(PackageFinder(plan["fallback"]))
    if plan["adapt"]:
        adapt(plan)


def adapt(plan: Mapping[str, Any]) -> None:
    """Let the server's packages run on this Python. Raises as `arrange`."""
    lacking = [name for name, package in plan["required"].items() if find_spec(package) is None]
    if lacking:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise Lacking(
            f"it has Python {version}, for which the server has no {' and no '.join(lacking)} to lend, and "
            f"must have it (pip install {' '.join(lacking)})"
        )
    from mlsrv_workers.worker.adapted_source import AdaptingFinder
    from mlsrv_workers.worker.older_python import complete

    complete()
    stand_ins = {
        package: module
        for distribution, (package, least, module) in plan["stand_ins"].items()
        if not has_version(distribution, least)
    }
    sys.meta_path.insert(0, AdaptingFinder(plan["pinned"], stand_ins))


def has_version(distribution: str, required: str) -> bool:
    """Return True if the environment has a distribution in at least this version."""
    try:
        found = version(distribution)
    except PackageNotFoundError:
        return False
    return parse_version(found) >= parse_version(required)


def parse_version(number: str) -> list[int]:
    """Return the numbers of a version, for example ``[26, 1, 0]``."""
    return [int(part) for part in re.findall(r"\d+", number)]


def report_failure(sock: int, reason: str) -> None:
    """Send the server the reason why the worker cannot start."""
    from mlsrv_workers.ipc.frames import FrameKind, pack_header

    # As `mlsrv_executor_kit.failures.dump_error`, which may be what cannot be imported.
    body = pickle.dumps((("MLSrvError", reason, "INTERNAL", {}, None), None))
    os.write(sock, pack_header(FrameKind.ERROR, 0, body, (), 0) + body)


if __name__ == "__main__":
    main()
