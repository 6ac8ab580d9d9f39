"""Models in environments whose Python is of another minor version than the server's."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlsrv_batching.plugin
import mlsrv_numpy.plugin
import mlsrv_text.plugin
from mlsrv import MeterOffer
from mlsrv.context import CallContext
from mlsrv.errors import DeadlineExceeded, InferenceError, ModelFailed
from mlsrv.kernel import Kernel
from mlsrv.testing import MemoryMeter, Offering, tensor_request

pytestmark = pytest.mark.timeout(300)

FACTS = '''
import asyncio, sys, typing
import numpy
import mlsrv
from mlsrv.codecs import decode_args
from mlsrv.context import current_context
from mlsrv.handlers import custom_handler
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput

def texts(name, values):
    return InferenceResponse(outputs=[ResponseOutput(name, [len(values)], "BYTES", values)])

class Facts(mlsrv.MLModel):
    """Answers with versions, and with what the standard library's JSON writer made of its message."""
    def predict(self, payload):
        orjson = sys.modules.get("orjson")
        again = InferenceRequest.parse_raw(payload.json())
        return texts("facts", [
            "%d.%d" % sys.version_info[:2], numpy.__version__, str(orjson), str(again.inputs[0].data.tolist())
        ])

class Arguments(mlsrv.MLModel):
    """Uses annotations for its inputs and output."""
    @decode_args
    async def predict(
        self, numbers: numpy.ndarray, name: typing.Optional[typing.List[str]] = None
    ) -> numpy.ndarray:
        return numbers + len(name or [])

class Cancelled(mlsrv.MLModel):
    """Waits; a task of its own is told of its end."""
    async def predict(self, payload):
        await asyncio.wait_for(asyncio.sleep(60), 59)

class Size(mlsrv.MLModel):
    """Answers with the number of rows that it got at once."""
    async def predict(self, payload):
        data = payload.inputs[0].data
        await asyncio.sleep(0.2)
        sizes = numpy.full(len(data), len(data))
        return InferenceResponse(outputs=[ResponseOutput("n", [len(data)], "INT64", sizes)])
'''


def of(environment: Path) -> dict[str, Any]:
    return {"parameters": {"environment_path": str(environment)}}


@pytest.fixture
def facts(model: Any, tmp_path: Path) -> Any:
    """Make settings of a model of this file."""

    def make(cls: str, environment: Path, **more: Any) -> Any:
        settings = model(cls, **of(environment), **more)
        (tmp_path / "models" / "facts.py").write_text(FACTS, encoding="utf-8")
        settings.implementation = f"facts.{cls}"
        return settings

    return make


def number(name: str, value: float) -> Any:
    return tensor_request(name, np.array([value]))


async def answer(kernel: Kernel, name: str, value: float = 0.0) -> Any:
    return (await kernel.infer(number(name, value))).outputs[0].data[0]


async def test_a_model_answers(serve: Any, facts: Any, other_python: Path) -> None:
    async with serve(
        facts("Facts", other_python),
        facts("Arguments", other_python),
        plugins=[mlsrv_numpy.plugin, mlsrv_text.plugin],
    ) as kernel:
        assert kernel.problems() == []
        response = await kernel.infer(tensor_request("facts", np.array([1.5, 2.0])))
        version, numpy_version, orjson, data = response.outputs[0].data
        assert version == other_python.name
        assert orjson == "None"  # no module but the server's sees the stand-in
        assert data == "[1.5, 2.0]"
        if version in ("3.9", "3.10"):
            assert numpy_version.startswith("1.")
        big = tensor_request("arguments", np.arange(200_000.0))
        big.inputs[0].name = "numbers"
        assert (await kernel.infer(big)).outputs[0].data[-1] == 199_999.0
        big.inputs[0].name = "other"
        with pytest.raises(InferenceError, match="numbers"):
            await kernel.infer(big)


async def test_streams_handlers_logs_metrics_and_errors(
    serve: Any, model: Any, other_python: Path, caplog: pytest.LogCaptureFixture, eventually: Any
) -> None:
    meter = Offering(MeterOffer("memory", MemoryMeter), name="memory")
    models = [model(cls, **of(other_python)) for cls in ("Many", "Chatty", "Refusing")]
    async with serve(*models, plugins=[meter]) as kernel:
        assert kernel.problems() == []

        async def requests() -> Any:
            for count in (2, 40):
                yield number("many", count)

        found = [int(each.outputs[0].data[0]) async for each in kernel.stream(requests())]
        assert found == [0, 1, *range(40)]
        assert await answer(kernel, "chatty") != os.getpid()
        looked = await kernel.call("chatty", None, "look", {"names": ["NO_SUCH_VARIABLE"]}, CallContext())
        assert looked["NO_SUCH_VARIABLE"] is None
        assert "seen 5" in caplog.text
        assert [record.color for record in caplog.records if hasattr(record, "color")] == ["red"]
        memory: Any = kernel.meters["memory"]
        await eventually(lambda: memory.sums.get(("score", "chatty", "")) == 0.5)
        assert memory.sums["loads", "chatty", ""] == 1.0
        for way, error in ((0, ModelFailed), (1, InferenceError), (2, InferenceError), (4, ModelFailed)):
            with pytest.raises(error):
                await answer(kernel, "refusing", way)
        assert "no such value" in caplog.text  # the traceback


async def test_cancellation_a_killed_worker_and_a_reload(
    serve: Any, model: Any, facts: Any, other_python: Path, tmp_path: Path, eventually: Any
) -> None:
    notes = tmp_path / "notes"
    waiter = model("Waiter", notes=str(notes), **of(other_python))
    models = [waiter, facts("Cancelled", other_python), model("Pid", **of(other_python))]
    async with serve(*models) as kernel:
        assert kernel.problems() == []
        task = asyncio.create_task(answer(kernel, "waiter", 60.0))
        await eventually(lambda: notes.exists() and "begun" in notes.read_text())
        task.cancel()
        await eventually(lambda: "cancelled" in notes.read_text())
        with pytest.raises(DeadlineExceeded):
            await kernel.infer(number("cancelled", 1.0), CallContext.with_timeout(0.3))
        first = int(await answer(kernel, "pid"))
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: kernel.problems())  # a model has no worker
        await eventually(lambda: kernel.problems() == [])
        second = int(await answer(kernel, "pid"))
        assert second != first
        await kernel.load("pid")
        assert await answer(kernel, "pid") == second


async def test_requests_are_batched(serve: Any, facts: Any, other_python: Path) -> None:
    settings = facts("Size", other_python, fields={"max_batch_size": 4, "max_batch_time": 5.0})
    async with serve(settings, plugins=[mlsrv_batching.plugin]) as kernel:
        assert kernel.problems() == []
        found = await asyncio.gather(*(answer(kernel, "size") for _ in range(5)))
        assert sorted(found) == [1, 4, 4, 4, 4]  # the first found the model idle


async def test_an_environment_that_lacks_what_it_must_have_fails_the_load(
    serve: Any, model: Any, environment_of: Any
) -> None:
    for version in ("3.9", "3.10") if sys.version_info < (3, 12) else ("3.10",):
        async with serve(model("Pid", **of(environment_of(version)))) as kernel:
            (problem,) = kernel.problems()
        assert f"A worker cannot run in the environment: it has Python {version}" in problem
        assert "numpy" in problem
        assert ("cattrs" in problem) == (version == "3.9")


async def test_a_tarball_without_an_interpreter_uses_one_on_the_path(
    serve: Any,
    model: Any,
    environment_of: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    version = "3.10" if sys.version_info[:2] != (3, 10) else "3.11"
    environment = environment_of(version, "numpy<2")
    packed = tmp_path / "environment.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(environment / "lib", "lib")
    settings = model("Pid", parameters={"environment_tarball": str(packed)})
    places = {"environments_dir": str(tmp_path / "environments")}
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    if shutil.which(f"python{version}") is None:
        async with serve(settings, **places) as kernel:
            assert f"no python{version} is on the PATH" in kernel.handle("pid").reason
    real = subprocess.run(
        [environment / "bin" / "python", "-c", "import sys; print(sys.base_prefix)"],
        capture_output=True,
        text=True,
    ).stdout.strip()
    (folder / f"python{version}").symlink_to(Path(real, "bin", f"python{version}"))
    async with serve(settings, **places) as kernel:
        assert kernel.problems() == []
        assert await answer(kernel, "pid") > 0
