"""Real Ray clusters on the loopback, and kernels with models there, for the tests of mlsrv-ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import mlsrv_files.plugin
import mlsrv_ray.plugin
from mlsrv import Kernel
from mlsrv.context import CallContext
from mlsrv.settings import ModelSettings
from mlsrv.testing import text_request
from workspace import ROOT

CLUSTER = ROOT / "plugins/executors/ray/tests/loopback_cluster.py"

MODEL = '''
import asyncio, json, logging, os, time
import mlsrv
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Told(MLModel):
    """Does what it is told by a text."""

    async def load(self):
        self.calls = None
        mlsrv.register("told", "What it was told to log.", kind="counter")
        return True

    async def unload(self):
        logging.getLogger("told").warning("told to leave")
        return True

    async def predict(self, payload):
        (data,) = (tensor.data for tensor in payload.inputs)
        if payload.inputs[0].datatype != "BYTES":
            data += 1
            return InferenceResponse(outputs=[ResponseOutput("y", list(data.shape), "FP32", data)])
        what, _, value = str(data[0]).partition(" ")
        if what == "sleep":
            await asyncio.sleep(float(value))
        if what == "block":
            time.sleep(float(value))
        if what == "file":
            value = open(os.path.join(self.settings.parameters.uri, value)).read()
        if what == "folder":
            value = os.getcwd()
        if what == "count":
            from prometheus_client import Counter
            self.calls = self.calls or Counter("counted", "Calls that were told to count.")
            self.calls.inc()
        if what == "log":
            logging.getLogger("told").warning("told to log %s", value)
            mlsrv.log(told=float(value))
        answer = json.dumps({"pid": os.getpid(), "node": node(), "value": value})
        return InferenceResponse(outputs=[ResponseOutput("y", [1], "BYTES", [answer])])

def node():
    import ray
    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else "none"
'''


def told(folder: Path, name: str = "m", **fields: Any) -> ModelSettings:
    """Settings of a model whose code is in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "told.py").write_text(MODEL)
    fields.setdefault("executor", "ray")
    settings = {"name": name, "implementation": "told.Told", "parameters": {"uri": str(folder)}}
    return ModelSettings(**settings, source=folder / "model-settings.json", **fields)


@contextmanager
def running_cluster(port: int = 0, nodes: int = 2) -> Iterator[dict[str, Any]]:
    """A cluster: its address, and by node and program the ids of its processes."""
    # The server sets it for itself.
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("RAY_gcs_rpc")}
    process = subprocess.Popen(
        [sys.executable, str(CLUSTER), str(port), str(nodes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    found: dict[str, Any] = {"processes": {}}
    try:
        for line in process.stdout:
            if line.startswith("{"):
                found = json.loads(line)
                break
        assert "address" in found, "the cluster did not start"
        yield found
    finally:
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        for pid in (pid for node in found["processes"].values() for pids in node.values() for pid in pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def serving(
    address: str | None, *models: ModelSettings, plugins: Sequence[object] = (), **settings: Any
) -> AsyncIterator[Kernel]:
    """A kernel with models, all of which were tried to load."""
    given = {"ray_address": address, "ray_check_interval": 0.5, **settings}
    chosen = [mlsrv_files.plugin, mlsrv_ray.plugin, *plugins]
    kernel = Kernel(given, plugins=chosen, models=models, discover=False)
    async with kernel:
        await kernel.loaded()
        yield kernel


async def ask(
    kernel: Kernel, text: str = "", name: str = "m", seconds: float | None = None
) -> dict[str, Any]:
    """What the model says of itself."""
    context = CallContext() if seconds is None else CallContext.with_timeout(seconds)
    response = await kernel.infer(text_request(name, [text]), context)
    found: dict[str, Any] = json.loads(response.outputs[0].data[0])
    return found


def is_running(pid: int) -> bool:
    """Return True if a process runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
