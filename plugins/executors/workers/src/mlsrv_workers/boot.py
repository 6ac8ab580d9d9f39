"""The first file that a worker process runs: ``python -P boot.py {"path": […], …} DESCRIPTORS…``.

It is run by its path and needs nothing but the standard library, so that it can decide what is imported from
where before anything of ours, or of the model's environment, is.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Set the import path up and hand over to `mlsrv_workers.worker`."""
    plan = json.loads(sys.argv[1])
    sys.path[:] = plan["path"]
    from mlsrv_workers import worker

    worker.main(sys.argv[2:])


if __name__ == "__main__":
    main()
