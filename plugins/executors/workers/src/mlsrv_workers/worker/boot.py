"""Boot: the script that a worker process runs, ``python boot.py PLAN SOCKET MEMORY_IN MEMORY_OUT PARENT``.

It is run by its path and needs nothing but the standard library, so that it can decide where packages come
from before any of them is imported. PLAN is a JSON object:

* `path` replaces ``sys.path`` if it is not null;
* `sites` are added as ``site-packages`` folders are, then `folders` as they are;
* packages in `pinned` (the folder of each, by name) come before all others;
* so do those in `newest` (by distribution: its version, and such packages), unless the environment has the
  distribution in a version that is as new;
* packages in `fallback` come after all others.
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
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType


class PackageFinder(MetaPathFinder):
    """Finds single top-level packages in folders whose other contents stay hidden."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folder = self._folders.get(fullname)
        return None if folder is None else PathFinder.find_spec(fullname, [folder])


def main() -> None:
    """Set up imports and run `mlsrv_workers.worker.worker`."""
    plan = json.loads(sys.argv[1])
    if plan["path"] is not None:
        sys.path[:] = plan["path"]
    for folder in plan["sites"]:
        site.addsitedir(folder)
    sys.path += plan["folders"]
    first = dict(plan["pinned"])
    for distribution, (required, packages) in plan["newest"].items():
        if not has_version(distribution, required):
            first |= packages
    sys.meta_path.insert(0, PackageFinder(first))
    sys.meta_path.append(PackageFinder(plan["fallback"]))
    try:
        from mlsrv_workers.worker import worker
    except Exception as error:  # an environment may lack packages or have broken ones
        report_failure(
            int(sys.argv[2]), f"A worker cannot run in the environment: {type(error).__name__}: {error}"
        )
        raise
    worker.main(sys.argv[2:])


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
