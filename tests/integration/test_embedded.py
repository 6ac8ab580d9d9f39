"""A web application that embeds kernels: its module is imported by the application's process alone."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.timeout(150)

MODELS = """
import os
import mlsrv
from mlsrv.types import InferenceResponse, ResponseOutput

print("models", flush=True)

class Where(mlsrv.MLModel):
    async def predict(self, payload):
        return InferenceResponse(outputs=[ResponseOutput("pid", [1], "INT64", [os.getpid()])])
"""
APPLICATION = """
import contextlib

from starlette.applications import Starlette
from starlette.routing import Mount

import mlsrv_rest
import own_models
from mlsrv import Kernel, ModelSettings

print("application", flush=True)

def kernel(name):
    model = ModelSettings(name=name, implementation=own_models.Where)
    return Kernel({"parallel_workers": 1}, models=[model])

kernels = [kernel("first"), kernel("second")]

@contextlib.asynccontextmanager
async def lifespan(app):
    async with kernels[0], kernels[1]:
        for kernel in kernels:
            await kernel.loaded()
        yield

app = Starlette(
    routes=[Mount(f"/{at}", app=mlsrv_rest.create_app(kernel)) for at, kernel in enumerate(kernels)],
    lifespan=lifespan,
)
"""
ASKED = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}


def address(log: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + 100
    while time.monotonic() < end:
        found = re.search(r"running on (\S+)", log.read_text())
        if found:
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_workers_import_the_models_of_a_web_application_and_not_the_application(tmp_path: Path) -> None:
    (tmp_path / "own_models.py").write_text(MODELS)
    (tmp_path / "app.py").write_text(APPLICATION)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=file, stderr=file)
    try:
        url = address(log, process)
        pids = set()
        for at, name in enumerate(("first", "second")):
            answer = httpx.post(f"{url}/{at}/v2/models/{name}/infer", json=ASKED, timeout=60)
            assert answer.status_code == 200, answer.text
            pids.add(answer.json()["outputs"][0]["data"][0])
        assert len(pids | {process.pid}) == 3
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    lines = log.read_text().splitlines()
    assert lines.count("application") == 1
    assert lines.count("models") == 3
