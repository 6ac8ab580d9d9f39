"""The first file that a worker process runs: ``python boot.py PLAN SOCKET ARENA_IN ARENA_OUT PARENT``.

It is run by its path and needs nothing but the standard library, so that it can decide what is imported from
where before anything of ours, or of the model's environment, is. PLAN is a JSON object:

* `path` replaces ``sys.path`` if there is one;
* folders in `sites` are added as ``site-packages`` are, then those in `folders` as they are;
* packages in `ours` (by name, their folder) come before all others;
* so do those in `needed` (by distribution: its version, and they by name), unless the environment has it in a
  version that is as new;
* packages in `lent` come after all others.
"""

from __future__ import annotations

import json
import os
import re
import site
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType


class Lender(MetaPathFinder):
    """Finds single top-level packages in folders whose other contents stay out of reach."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folder = self._folders.get(fullname)
        return None if folder is None else PathFinder.find_spec(fullname, [folder])


def main() -> None:
    """Set imports up and hand over to `mlsrv_workers.worker.worker`."""
    plan = json.loads(sys.argv[1])
    if plan["path"] is not None:
        sys.path[:] = plan["path"]
    for folder in plan["sites"]:
        site.addsitedir(folder)
    sys.path += plan["folders"]
    first = dict(plan["ours"])
    for distribution, (needed, packages) in plan["needed"].items():
        if not has(distribution, needed):
            first |= packages
    sys.meta_path.insert(0, Lender(first))
    sys.meta_path.append(Lender(plan["lent"]))
    try:
        from mlsrv_workers.worker import worker
    except Exception as error:  # an environment may lack, or break, anything
        report(int(sys.argv[2]), f"A worker cannot run in the environment: {type(error).__name__}: {error}")
        raise
    worker.main(sys.argv[2:])


def has(distribution: str, needed: str) -> bool:
    """Whether the environment has a distribution in at least this version."""
    try:
        found = version(distribution)
    except PackageNotFoundError:
        return False
    return release(found) >= release(needed)


def release(number: str) -> list[int]:
    """What tells releases apart in the number of a version, for example ``[26, 1, 0]``."""
    return [int(part) for part in re.findall(r"\d+", number)]


def report(sock: int, reason: str) -> None:
    """Tell the server why there will be no worker."""
    from mlsrv_workers.ipc.frames import Kind, dump, head

    body = dump(((None, reason, "INTERNAL", None), None))
    os.write(sock, head(Kind.ERROR, 0, body, (), 0) + body)


if __name__ == "__main__":
    main()
