"""Boot: the script that a worker process runs first."""

import json
import socket
import subprocess
import sys

from mlsrv_executor_kit.failures import load_error
from mlsrv_executor_kit.plain_data import load_plain
from mlsrv_workers.ipc.frames import HEADER
from mlsrv_workers.worker import boot


def test_boot_fails_with_a_traceback_if_the_worker_cannot_be_imported() -> None:
    plan = json.dumps({"path": None, "sites": [], "ours": {}, "needed": {}, "lent": {}, "folders": []})
    command = [sys.executable, "-I", "-S", boot.__file__, plan, "0", "0", "0", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "mlsrv_workers" in done.stderr


def test_the_server_can_read_why_a_worker_cannot_start() -> None:
    here, there = socket.socketpair()
    with here, there:
        boot.report_failure(there.fileno(), "no package")
        received = here.recv(65536)
    length, *_ = HEADER.unpack_from(received)
    plain, spans = load_plain(received[HEADER.size : HEADER.size + length])
    assert (str(load_error(plain)), spans) == ("no package", None)


def test_the_report_needs_no_packages_that_may_be_missing() -> None:
    code = "import sys; import mlsrv_workers.ipc.frames; assert 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
