"""Warm-up: requests that a model answers before it is ready."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mlsrv.errors import InferenceError
from mlsrv.kernel import Kernel
from mlsrv.model import MLModel
from mlsrv.plugins.offers import CodecOffer
from mlsrv.settings import ModelSettings
from mlsrv.testing import Offering
from mlsrv.types import InferenceRequest, InferenceResponse, MetadataTensor

INPUTS = [
    {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
    {"name": "t", "datatype": "BYTES", "shape": [2]},
    {"name": "d", "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "datetime"}},
    {"name": "b", "datatype": "BF16", "shape": []},
]
REQUEST = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [2], "data": [1, 2]}]}


class Recorder(MLModel):
    """Remembers what it was asked; refuses what holds a 13."""

    seen: ClassVar[list[tuple[bool, Any]]] = []
    unloaded: ClassVar[list[str]] = []

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]  # sync
        self.seen.append((self.ready, payload.dict()["inputs"]))
        if payload.inputs[0].name == "x" and 13 in list(payload.inputs[0].data):
            raise InferenceError("no 13 here")
        return InferenceResponse()

    async def unload(self) -> bool:
        self.unloaded.append(self.name)
        return True


class Streamer(MLModel):
    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            Recorder.seen.append((False, payload.dict()["inputs"]))
            yield InferenceResponse()


@pytest.fixture(autouse=True)
def fresh() -> None:
    Recorder.seen.clear()
    Recorder.unloaded.clear()


async def load(warm_up: Any, cls: type[MLModel] = Recorder, **settings: Any) -> str:
    """Why the model did not load; empty if it did."""
    model = ModelSettings(name="m", implementation=cls, warm_up=warm_up, **settings)
    async with Kernel(models=[model], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.model_ready("m") is not bool(kernel.handle("m").reason)
        return kernel.handle("m").reason


async def test_there_is_no_warm_up_by_default() -> None:
    assert await load(False) == ""
    assert Recorder.seen == []


@pytest.mark.parametrize("cls", [Recorder, Streamer])
async def test_a_request_in_the_settings(cls: type[MLModel]) -> None:
    assert await load(REQUEST, cls) == ""
    assert Recorder.seen == [(cls is Recorder, REQUEST["inputs"])]


async def test_a_file_beside_the_settings_and_a_list(tmp_path: Path) -> None:
    (tmp_path / "warm.json").write_text(json.dumps(REQUEST))
    source = tmp_path / "model-settings.json"
    assert await load("warm.json", source=source) == ""
    assert await load([str(tmp_path / "warm.json"), REQUEST], source=source) == ""
    assert [inputs for _, inputs in Recorder.seen] == [REQUEST["inputs"]] * 3


@pytest.mark.parametrize("wanted", [True, "true"])
async def test_a_sample_of_the_declared_inputs(wanted: Any) -> None:
    assert await load(wanted, inputs=INPUTS) == ""
    ((_, sample),) = Recorder.seen
    assert sample == [
        {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0.0, 0.0, 0.0]},
        {"name": "t", "shape": [2], "datatype": "BYTES", "data": ["", ""]},
        {"name": "d", "shape": [1], "datatype": "BYTES", "data": ["1970-01-01T00:00:00"]},
        {"name": "b", "shape": [], "datatype": "BF16", "data": [0.0]},
    ]


async def test_inputs_that_the_model_declares_when_it_loads() -> None:
    class Late(Recorder):
        async def load(self) -> bool:
            self.inputs = [MetadataTensor("late", "INT8", [-1])]
            return True

    assert await load(True, Late) == ""
    ((_, sample),) = Recorder.seen
    assert sample == [{"name": "late", "shape": [1], "datatype": "INT8", "data": [0]}]


@pytest.mark.parametrize(
    ("warm_up", "sentence"),
    [
        (True, "Model m: warm_up is true, but the model declares no inputs to make a sample of"),
        ("missing.json", "Model m: warm_up cannot be read: "),
        (
            {"inputs": [{"name": "x"}]},
            'Model m: warm_up is no inference request: inputs[0] "x": shape is missing',
        ),
        (
            [REQUEST, 7],
            "Model m: warm_up is no inference request: The request is 7; it must be a JSON object",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1], "data": [13]}]},
            "Model m failed its warm-up: no 13 here",
        ),
    ],
)
async def test_a_warm_up_that_fails_fails_the_load(warm_up: Any, sentence: str) -> None:
    assert sentence in await load(warm_up)
    assert Recorder.unloaded == ["m"]


async def test_any_exception_of_the_warm_up_is_the_reason() -> None:
    class Broken(Recorder):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            raise KeyError("weights")

    assert await load(REQUEST, Broken) == "Model m failed its warm-up: Model m failed: KeyError: 'weights'"


async def test_the_sample_of_a_codec_that_a_plugin_offers() -> None:
    offer = CodecOffer("toy", "toys:ToyCodec", sample="a toy")
    inputs = [{"name": "t", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "toy"}}]
    model = ModelSettings(name="m", implementation=Recorder, warm_up=True, inputs=inputs)
    async with Kernel(models=[model], plugins=[Offering(offer)], discover=False) as kernel:
        await kernel.loaded()
        assert kernel.problems() == []
    ((_, sample),) = Recorder.seen
    assert sample[0]["data"] == ["a toy"]
