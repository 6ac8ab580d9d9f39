"""Boot: the script that a worker process runs first."""

import json
import subprocess
import sys


def test_boot_fails_with_a_traceback_if_the_worker_cannot_be_imported() -> None:
    from mlsrv_workers.worker import boot

    plan = json.dumps({"path": None, "sites": [], "ours": {}, "needed": {}, "lent": {}, "folders": []})
    command = [sys.executable, "-I", "-S", boot.__file__, plan, "0", "0", "0", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "mlsrv_workers" in done.stderr
