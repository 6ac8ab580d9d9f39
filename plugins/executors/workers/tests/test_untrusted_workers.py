"""Untrusted workers: whatever the code of a model makes its worker send, the server runs none of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import mlsrv_workers
from mlsrv import CallContext, ModelSettings
from mlsrv.errors import MLSrvError, ModelFailed
from mlsrv.testing import tensor_request
from mlsrv_protocol.encoded import EncodedRequest

SOURCES = Path(mlsrv_workers.__file__).parent

HOSTILE = '''
import logging
import pathlib
import pickle
import mlsrv
from mlsrv.handlers import custom_handler
from mlsrv.types import InferenceResponse
from mlsrv_executor_kit.plain_data import dump_plain
from mlsrv_workers.ipc.connection import Connection
from mlsrv_workers.ipc.frames import FrameKind

send = Connection.send

class Touch:
    """Unpickled, it makes a file: a harmless sign that the server ran something."""
    def __init__(self, path):
        self.path = path
    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)

class Hostile(mlsrv.MLModel):
    def go_wrong(self, when):
        given = self.settings.parameters.extra
        if given["when"] != when:
            return
        kinds = {getattr(FrameKind, kind) for kind in given["kinds"]}
        body = pickle.dumps(Touch(given["sign"])) if given["what"] == "code" else dump_plain(given["what"])
        def wrong(connection, kind, call=0, payload=body, buffers=None):
            send(connection, kind, call, body if kind in kinds else payload, buffers)
        Connection.send = wrong
    async def load(self):
        self.go_wrong("load")
        return True
    async def predict(self, payload):
        self.go_wrong("call")
        logging.getLogger("mine").warning("a record")
        mlsrv.log(score=0.5)
        if self.settings.parameters.extra["fails"]:
            raise ValueError("an error")
        return InferenceResponse(self.name, [])
    async def predict_stream(self, payloads):
        self.go_wrong("call")
        async for payload in payloads:
            yield InferenceResponse(self.name, [])
    @custom_handler(rest_path="/look")
    async def look(self):
        self.go_wrong("call")
        return {"a": 1}
'''

WRONG = ["code", 7, [["m", 1, 1, 1, 7], None]]
WRONG_ENCODED = [
    *WRONG,
    [["no bytes", {}], None, [1, 1, 1]],
    [[b"{}", None], None, [1, 1, 1]],
    [[b"{}", {}], None, [1, "1", 1]],
    [[b"{}", {}], None],
    [[b"{}"], None, [1, 1, 1]],
]


@pytest.fixture
def hostile(tmp_path: Path) -> Any:
    """Make settings of a model whose worker sends `what` in place of frames of some kinds."""
    (tmp_path / "hostile.py").write_text(HOSTILE, encoding="utf-8")

    def make(kinds: list[str], what: Any, when: str = "call", fails: bool = False) -> ModelSettings:
        sign = str(tmp_path / "sign")
        extra = {"kinds": kinds, "what": what, "when": when, "fails": fails, "sign": sign}
        source = tmp_path / "model-settings.json"
        return ModelSettings(
            "hostile", "hostile.Hostile", parallel_workers=1, parameters={"extra": extra}, source=source
        )

    return make


@pytest.mark.parametrize("what", WRONG, ids=str)
async def test_an_answer_that_is_none_is_an_error_of_its_call(
    serve: Any, model: Any, hostile: Any, what: Any, tmp_path: Path
) -> None:
    async with serve(hostile(["RESULT", "STREAM_ITEM"], what), model("Pid")) as kernel:
        assert kernel.problems() == []
        request = tensor_request("hostile", [0.0])
        for call in (
            lambda: kernel.infer(request),
            lambda: anext(kernel.stream(request)),
            lambda: kernel.call("hostile", None, "look", {}, CallContext()),
        ):
            with pytest.raises(ModelFailed, match="cannot be read"):
                await call()
        assert (await kernel.infer(tensor_request("pid", [0.0]))).outputs
    assert not (tmp_path / "sign").exists()


@pytest.mark.parametrize("what", WRONG_ENCODED, ids=str)
async def test_an_answer_to_an_encoded_request_that_is_none_is_an_error_of_its_call(
    serve: Any, model: Any, hostile: Any, what: Any, tmp_path: Path
) -> None:
    async with serve(hostile(["RESULT"], what), model("Pid")) as kernel:
        with pytest.raises(ModelFailed, match="cannot be read"):
            await kernel.infer(EncodedRequest(b'{"inputs":[]}', None, "hostile", None), CallContext())
        answer = await kernel.infer(EncodedRequest(b'{"inputs":[]}', None, "pid", None), CallContext())
        assert answer.body.startswith(b'{"model_name":"pid"')
    assert not (tmp_path / "sign").exists()


@pytest.mark.parametrize("what", WRONG, ids=str)
async def test_an_answer_to_a_load_that_is_none_fails_the_load(
    serve: Any, model: Any, hostile: Any, what: Any, tmp_path: Path
) -> None:
    async with serve(hostile(["RESULT"], what, "load")) as kernel:
        assert "cannot be read" in kernel.handle("hostile").reason
    assert not (tmp_path / "sign").exists()


@pytest.mark.parametrize("what", WRONG, ids=str)
async def test_an_error_that_is_none_is_an_error_of_its_call(
    serve: Any, model: Any, hostile: Any, what: Any, tmp_path: Path
) -> None:
    async with serve(hostile(["ERROR"], what, fails=True), model("Pid")) as kernel:
        with pytest.raises(MLSrvError, match="cannot be read"):
            await kernel.infer(tensor_request("hostile", [0.0]))
        assert (await kernel.infer(tensor_request("pid", [0.0]))).outputs
    assert not (tmp_path / "sign").exists()


@pytest.mark.parametrize("what", WRONG, ids=str)
async def test_records_and_metrics_that_are_none_stop_nothing(
    serve: Any, model: Any, hostile: Any, what: Any, tmp_path: Path
) -> None:
    kinds = ["LOG", "RECORD", "SHORT", "STREAM_CREDIT"]
    async with serve(hostile(kinds, what), model("Pid")) as kernel:
        for name in ("hostile", "pid") * 2:
            assert await kernel.infer(tensor_request(name, [0.0]))
    assert not (tmp_path / "sign").exists()


def test_the_server_unpickles_nothing() -> None:
    """Of this distribution, only the code of workers may read pickles: what the server sends."""
    reads = re.compile(r"\.unpickled\(|pickle\.loads?\(|Unpickler")
    found = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if reads.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"ipc/frames.py", "worker/worker.py"}
