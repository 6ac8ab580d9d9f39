"""The files of a model change without a reload while its workers end: versions never mix."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlsrv.errors import ModelLoadError
from mlsrv.kernel import Kernel
from mlsrv.settings import ModelParameters, ModelSettings
from mlsrv.testing import tensor_request

pytestmark = pytest.mark.timeout(60)

CODE = """
import asyncio
from pathlib import Path
from helper import WORD
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

class Versioned(MLModel):
    async def load(self):
        self.text = Path(self.settings.parameters.uri).read_text()
        return True

    async def predict(self, payload):
        await asyncio.sleep(0.01)
        import late.words
        answer = f"{WORD} {late.words.WORD} {self.text}"
        return InferenceResponse(outputs=[ResponseOutput("output", [1], "BYTES", [answer])])
"""


def write(folder: Path, word: str) -> None:
    (folder / "late").mkdir(exist_ok=True)
    (folder / "late" / "__init__.py").write_text("")
    (folder / "late" / "words.py").write_text(f"WORD = {word!r}")
    (folder / "helper.py").write_text(f"WORD = {word!r}")
    (folder / "models.py").write_text(CODE)


@pytest.fixture
def versioned(tmp_path: Path) -> ModelSettings:
    write(tmp_path, "one")
    (tmp_path / "artifact.txt").write_text("old")
    return ModelSettings(
        "versioned",
        "models.Versioned",
        ModelParameters(uri=str(tmp_path / "artifact.txt")),
        source=tmp_path / "model-settings.json",
    )


async def answers(kernel: Kernel, count: int = 20) -> set[str]:
    request = tensor_request("versioned", [1.0])
    found = await asyncio.gather(*(kernel.infer(request) for _ in range(count)))
    return {str(response.outputs[0].data[0]) for response in found}


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


async def test_a_replaced_worker_runs_the_code_that_was_loaded(
    faults: Any, versioned: ModelSettings, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    async with faults(versioned) as it:
        before = it.pids
        write(tmp_path, "two")  # nobody has imported late.words yet
        kill(before[0])
        await eventually(lambda: len(it.pids) == 2 and before[0] not in it.pids)
        pool = it.kernel._executors["workers"]._running()[0]
        await eventually(lambda: all(worker.prepared for worker in pool._supervisor.alive.values()))
        assert await answers(it.kernel) == {"one one old"}
        (tmp_path / "models.py").write_text("this is no Python")
        with pytest.raises(ModelLoadError, match="SyntaxError"):
            await it.kernel.load("versioned")
        kill(*it.pids)
        await eventually(lambda: not it.kernel.ready)
        await eventually(lambda: it.kernel.ready)
        assert await answers(it.kernel) == {"one one old"}
        write(tmp_path, "three")
        await it.kernel.load("versioned")
        assert await answers(it.kernel) == {"three three old"}


async def test_a_replaced_worker_goes_without_a_model_whose_artifact_has_changed(
    faults: Any,
    versioned: ModelSettings,
    tmp_path: Path,
    eventually: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with faults(versioned) as it:
        before = it.pids
        (tmp_path / "artifact.txt").write_text("newer")
        kill(before[0])
        await eventually(lambda: any("its artifact has changed" in line for line in caplog.messages))
        assert await answers(it.kernel) == {"one one old"}
        assert it.kernel.ready
        # Nobody has the old version any more: all workers take the new one.
        kill(*it.pids)
        await eventually(lambda: not it.kernel.ready)
        await eventually(lambda: it.kernel.ready)
        assert await answers(it.kernel) == {"one one newer"}
        assert any("is loaded with its present files" in line for line in caplog.messages)
