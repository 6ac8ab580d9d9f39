"""Kernels with models on a Ray cluster, for the tests of mlsrv-ray."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mlsrv_files.plugin
import mlsrv_ray.plugin
from mlsrv import Kernel
from mlsrv.context import CallContext
from mlsrv.settings import ModelSettings
from mlsrv.testing import text_request

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
