"""Kernels and servers whose workers come to harm, and what they may not leave behind."""

import asyncio
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from attrs import define

from mlsrv.context import CallContext
from mlsrv.kernel import Kernel
from mlsrv.settings import ModelParameters, ModelSettings
from mlsrv.testing import tensor_request
from mlsrv.testing.fixtures import free_port

MODEL = Path(__file__).parent / "model"


@define
class Faults:
    """A kernel with workers, and shorthands."""

    kernel: Kernel

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that live."""
        return list(self.kernel._executors["workers"].pids)  # type: ignore[attr-defined]

    async def ask(self, number: float = 0.0, model: str = "model", context: Any = None) -> list[int]:
        """One request: process id and artifact of the model that answered."""
        response = await self.kernel.infer(tensor_request(model, np.array([number])), context)
        return [int(value) for value in response.outputs[0].data]

    def start(self, number: float, model: str = "model") -> "asyncio.Task[list[int]]":
        """One request in a task of its own."""
        return asyncio.create_task(self.ask(number, model, CallContext()))


def settings(name: str = "model", fields: Any = None, **extra: Any) -> ModelSettings:
    """Settings of a `Troubled` model; keywords go to ``extra``."""
    return ModelSettings(
        name,
        "models.Troubled",
        ModelParameters(extra={key: str(value) for key, value in extra.items()}),
        source=MODEL / "model-settings.json",
        **(fields or {}),
    )


@pytest.fixture
def troubled() -> Callable[..., ModelSettings]:
    return settings


@pytest.fixture
def held() -> Callable[..., ModelSettings]:
    """Settings of a `Held` model; keywords are further fields."""

    def make(**fields: Any) -> ModelSettings:
        return ModelSettings("held", "models.Held", source=MODEL / "model-settings.json", **fields)

    return make


@pytest.fixture
def faults() -> Any:
    """Runs a kernel with installed plugins and some models, by default with two workers."""

    @asynccontextmanager
    async def run(*models: ModelSettings, **values: Any) -> AsyncIterator[Faults]:
        values = {"parallel_workers": 2, "shutdown_timeout": 2.0} | values
        before = left()
        async with Kernel(values, models=models or [settings()]) as kernel:
            await kernel.loaded()
            yield Faults(kernel)
        end = time.monotonic() + 5
        while left() != before:
            assert time.monotonic() < end, f"left behind: {before} became {left()}"
            await asyncio.sleep(0.02)

    return run


def left() -> tuple[set[int], int, set[str]]:
    """What a kernel may leave no more of: processes, descriptors, shared memory."""
    gc.collect()
    process = psutil.Process()
    shared = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    workers = {worker.pid for worker in workers_of(process)}
    return workers, process.num_fds(), {name for name in shared if "mlsrv" in name}


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The worker processes of a server."""
    return [child for child in process.children() if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "boot.py" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has just ended, or nobody has waited for it yet
        return False


@pytest.fixture
def own_workers() -> Callable[[], set[int]]:
    """The process ids of the worker processes of these tests, now."""
    return lambda: {worker.pid for worker in workers_of(psutil.Process())}


@pytest.fixture
def eventually() -> Any:
    """Waits until something is true, and returns it."""

    async def wait(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "it did not happen in time"
            await asyncio.sleep(0.01)
        return found

    return wait


@define
class Server:
    """A server as a process of its own."""

    process: "subprocess.Popen[str]"
    port: int
    grpc_port: int
    metrics_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return workers_of(psutil.Process(self.process.pid))

    def wait_ready(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/v2/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
            else:
                time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def notes(self) -> str:
        """What the model has noted so far."""
        notes = self.log.parent / "notes"
        return notes.read_text() if notes.exists() else ""

    def stop(self, seconds: float) -> str:
        """Ask it to stop; it must end well within that time, and leave no process. Returns its log."""
        processes = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(seconds) == 0, self.log.read_text()
        _, left = psutil.wait_procs(processes, 2.0)
        assert not left
        text = self.log.read_text()
        assert "Traceback" not in text, text
        return text

    def body(self, number: float) -> dict[str, Any]:
        return {"inputs": [{"name": "input", "shape": [1], "datatype": "FP64", "data": [number]}]}


another_free_port = metrics_port = free_port


@pytest.fixture
def server(
    tmp_path: Path,
    free_port: int,
    another_free_port: int,
    metrics_port: int,
    request: pytest.FixtureRequest,
) -> Iterator[Server]:
    """``mlsrv start`` with one `Troubled` model in two workers, or with what the parameter says."""
    wanted = {"implementation": "models.Troubled", "parallel_workers": 2} | getattr(request, "param", {})
    ready = wanted.pop("ready", True)
    folder = tmp_path / "repository" / "model"
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("__pycache__"))
    extra = {"notes": str(tmp_path / "notes")} | wanted.pop("extra", {})
    values = {"name": "model", "implementation": wanted.pop("implementation"), "parameters": {"extra": extra}}
    values |= wanted.pop("model", {})
    (folder / "model-settings.json").write_text(json.dumps(values))
    log = tmp_path / "log"
    command = [str(Path(sys.executable).parent / "mlsrv"), "start", str(folder.parent)]
    settings = {
        "http_port": free_port,
        "grpc_port": another_free_port,
        "metrics_port": metrics_port,
        "host": "127.0.0.1",
        "grpc_stream_responses": "triton",
    }
    for name, value in (settings | wanted).items():
        command += ["--set", f"{name}={value}"]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, text=True, cwd=tmp_path)
    made = Server(process, free_port, another_free_port, metrics_port, log)
    try:
        if ready:
            made.wait_ready()
        yield made
    finally:
        process.kill()
        process.wait(20)
