"""Child processes: their group and session."""

import os
import sys

from mlsrv_workers.pool.child_process import ChildProcess


async def test_a_process_has_a_group_of_its_own_in_the_session_of_the_server() -> None:
    child = ChildProcess.start([sys.executable, "-c", "import time; time.sleep(60)"], (), dict(os.environ))
    try:
        assert os.getpgid(child.pid) == child.pid
        assert os.getsid(child.pid) == os.getsid(0)
    finally:
        child.kill()
        await child.exited
