"""Models in a folder, as users have them, and kernels that run them in workers."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import mlsrv_workers.plugin
from mlsrv.kernel import Kernel
from mlsrv.settings import ModelParameters, ModelSettings

MODELS = '''
import asyncio, enum, gc, os, subprocess, sys, threading, time
import numpy as np
import mlsrv
from mlsrv.context import current_context
from mlsrv.handlers import custom_handler
from mlsrv.types import InferenceResponse, MetadataModelResponse, ResponseOutput

helped = os.path.basename(os.path.dirname(__file__))

def answer(value):
    array = np.asarray(value)
    datatype = {"f": "FP64", "i": "INT64"}[array.dtype.kind]
    return InferenceResponse(outputs=[ResponseOutput("output", list(array.shape), datatype, array)])

def number(payload):
    return float(payload.inputs[0].data.reshape(-1)[0])

class Pid(mlsrv.MLModel):
    """Answers with its process id."""
    async def predict(self, payload):
        return answer([os.getpid()])

class Frozen(mlsrv.MLModel):
    """Answers with the number of objects that garbage collections skip."""
    async def predict(self, payload):
        return answer([gc.get_freeze_count()])

class Sleeper(mlsrv.MLModel):
    """Sleeps in a thread for the given seconds; if polite, it stops when it is cancelled."""
    def predict(self, payload):
        until = time.monotonic() + number(payload)
        if self.settings.parameters.extra.get("polite"):
            note(self.settings, "asleep")
        while time.monotonic() < until:
            time.sleep(0.01)
            if self.settings.parameters.extra.get("polite") and current_context.get().cancelled:
                note(self.settings, "left")
                break
        note(self.settings, f"done {number(payload)}")
        return answer([os.getpid()])

class Threaded(mlsrv.MLModel):
    """Sleeps for the given seconds; answers with 1 on the main thread, and 0 in another one."""
    def predict(self, payload):
        time.sleep(number(payload))
        return answer([int(threading.current_thread() is threading.main_thread())])

class Waiter(mlsrv.MLModel):
    """Waits on the event loop for the given seconds."""
    async def predict(self, payload):
        note(self.settings, "begun")
        try:
            await asyncio.sleep(number(payload))
        except asyncio.CancelledError:
            note(self.settings, "cancelled")
            raise
        return answer([os.getpid()])

class SlowLoad(mlsrv.MLModel):
    async def load(self):
        await asyncio.sleep(self.settings.parameters.extra["seconds"])
        return True
    async def predict(self, payload):
        return answer([1])

class Deadly(mlsrv.MLModel):
    """Ends its process while it is loaded, if a file exists."""
    def load(self):
        if os.path.exists(self.settings.parameters.extra["file"]):
            os._exit(7)
        return True
    async def predict(self, payload):
        return answer([os.getpid()])

class Artifact(mlsrv.MLModel):
    """Cannot be loaded without its file."""
    def load(self):
        with open(self.settings.parameters.extra["file"]) as file:
            self.value = int(file.read())
        return True
    async def predict(self, payload):
        return answer([self.value])

class Many(mlsrv.MLModel):
    """Streams: for each request, the given number of answers."""
    async def predict_stream(self, payloads):
        async for payload in payloads:
            for index in range(int(number(payload))):
                note(self.settings, index)
                yield answer([index])

class Chatty(mlsrv.MLModel):
    """Logs, records metrics and describes its process."""
    def load(self):
        mlsrv.register("loads", "Number of loads", kind="counter")
        mlsrv.log(loads=1)
        return True
    def predict(self, payload):
        import logging
        logging.getLogger("mlsrv.mine").warning("seen %s", 5, extra={"color": "red"})
        mlsrv.log(score=0.5)
        return answer([os.getpid()])
    @custom_handler(rest_path="/look")
    async def look(self, names):
        return {name: os.environ.get(name) for name in names} | {"helped": helped, "path": list(sys.path)}
    @custom_handler(rest_path="/child")
    def child(self):
        code = "import signal; print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    @custom_handler(rest_path="/odd")
    def odd(self):
        class Local: pass
        return Local()

class Level(str, enum.Enum):
    HIGH = "high"

class Named(mlsrv.MLModel):
    """Uses an enumeration of its own in its metadata, metrics and log records."""
    async def metadata(self):
        return MetadataModelResponse(
            name=self.name, platform=Level.HIGH, inputs=[], outputs=[], parameters={"level": Level.HIGH}
        )
    async def predict(self, payload):
        import logging
        logging.getLogger("mlsrv.mine").warning("seen", extra={"level": Level.HIGH})
        mlsrv.log(score=Points(0.5))
        return answer([os.getpid()])

class Points(float):
    pass

class Old(mlsrv.MLModel):
    """Raises a warning."""
    async def predict(self, payload):
        import warnings
        warnings.warn("this is old")
        return answer([os.getpid()])

class Refusing(mlsrv.MLModel):
    """Fails in each way that there is."""
    async def predict(self, payload):
        way = int(number(payload))
        if way == 0:
            raise ValueError("no such value")
        if way == 1:
            raise mlsrv.errors.InferenceError("not this one")
        if way == 2:
            raise Own("mine alone")
        if way == 3:
            raise mlsrv.errors.Overloaded("too much of it")
        return None

class Own(mlsrv.errors.InferenceError):
    pass

class Big(mlsrv.MLModel):
    """Allocates the given bytes of memory, within a limit."""
    def predict(self, payload):
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        return answer([len(bytearray(int(number(payload))))])

def note(settings, text):
    if path := settings.parameters.extra.get("notes"):
        with open(path, "a") as file:
            file.write(f"{text}\\n")
'''

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Kernel]]
Model: TypeAlias = Callable[..., ModelSettings]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Make settings of a model of the folder, by the name of its class; keywords go to ``extra``."""

    def make(cls: str, name: str | None = None, *, folder: str = "models", **extra: Any) -> ModelSettings:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "models.py").write_text(MODELS, encoding="utf-8")
        fields = extra.pop("fields", {})
        return ModelSettings(
            name=name or cls.lower(),
            implementation=f"models.{cls}",
            parameters=ModelParameters(extra=extra, **extra.pop("parameters", {})),
            source=place / "model-settings.json",
            **fields,
        )

    return make


@pytest.fixture
def serve() -> Serve:
    """Run a kernel with some models, by default with one worker."""

    @asynccontextmanager
    async def run(*models: ModelSettings, plugins: Any = (), **settings: Any) -> AsyncIterator[Kernel]:
        values = {"parallel_workers": 1, "shutdown_timeout": 2.0} | settings
        kernel = Kernel(values, models=models, plugins=[mlsrv_workers.plugin, *plugins], discover=False)
        async with kernel:
            await kernel.loaded()
            yield kernel

    return run


async def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)
    return found


@pytest.fixture(name="eventually")
def _eventually() -> Any:
    return eventually


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlsrv")
