"""MLServer 1.5's manual with the package name replaced: custom runtimes in sections 8.5, 9.1.10 and 11.1.6,
and the first tutorial."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from mlsrv.codecs import NumpyCodec, StringCodec
from mlsrv.types import InferenceRequest
from served import Served, served


def repository(root: Path, settings: dict[str, Any], **modules: str) -> str:
    """A model's folder in a flat repository."""
    folder = root / str(settings.get("name") or settings["model"])
    folder.mkdir()
    (folder / "model-settings.json").write_text(json.dumps(settings))
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return str(root)


async def post(server: Served, model: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    url = f"{server.rest}/v2/models/{model}/infer"
    return await asyncio.to_thread(httpx.post, url, json=body, headers=headers, timeout=30)


RUNTIME = """
from mlsrv import MLModel
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput

def load_my_custom_model():
    return sum

class MyCustomRuntime(MLModel):
    async def load(self) -> bool:
        self._model = load_my_custom_model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        total = self._model(payload.inputs[0].data.tolist())
        return InferenceResponse(
            outputs=[ResponseOutput(name="total", shape=[1], datatype="INT64", data=[total])]
        )
"""
SUM = {"model": "sum-model", "implementation": "models.MyCustomRuntime"}
NUMBERS = {"inputs": [{"name": "x", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]}]}


async def test_a_runtime_beside_its_settings(tmp_path: Path) -> None:
    """8.5.1 and 8.5.2: ``models.py`` beside ``model-settings.json``, whose key is ``model``."""
    root = repository(tmp_path, SUM, models=RUNTIME)
    async with served([], model_repository_root=root, executor="inline") as server:
        answer = (await post(server, "sum-model", NUMBERS)).json()
    assert answer["model_name"] == "sum-model"
    assert answer["outputs"] == [{"name": "total", "shape": [1], "datatype": "INT64", "data": [6]}]


QUESTIONS = """
import numpy as np
from mlsrv import MLModel
from mlsrv.codecs import decode_args
from typing import List

class Lengths:
    def predict(self, questions, context):
        return np.array([[len(question), len(text)] for question, text in zip(questions, context)])

class MyCustomRuntime(MLModel):
    async def load(self) -> bool:
        self._model = Lengths()
        return True

    @decode_args
    async def predict(self, questions: List[str], context: List[str]) -> np.ndarray:
        return self._model.predict(questions, context)
"""


async def test_the_simplified_interface(tmp_path: Path) -> None:
    root = repository(tmp_path, {"name": "qa", "implementation": "models.MyCustomRuntime"}, models=QUESTIONS)
    inputs = [
        StringCodec.encode_input("questions", ["who?", "why?"], use_bytes=False),
        StringCodec.encode_input("context", ["a", "bcd"], use_bytes=False),
    ]
    async with served([], model_repository_root=root, executor="inline") as server:
        answer = (await post(server, "qa", InferenceRequest(inputs=inputs).dict())).json()
        (output,) = answer["outputs"]
        assert (output["name"], output["shape"], output["data"]) == ("output-0", [2, 2], [4, 1, 4, 3])
        assert output["parameters"] == {"content_type": "np"}
        refused = await post(server, "qa", InferenceRequest(inputs=inputs[:1]).dict())
        assert refused.status_code == 400
        assert refused.json()["error"] == "Model qa needs the inputs context; it takes context, questions."


HEADERS = """
from mlsrv import MLModel
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters

class CustomHeadersRuntime(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        if payload.parameters and payload.parameters.headers:
            print(payload.parameters.headers)
            seen = payload.parameters.headers["x-from-client"]
        return InferenceResponse(
            outputs=[],
            parameters=Parameters(headers={"foo": "bar", "seen": seen})
        )
"""


async def test_headers_are_read_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"name": "headers", "implementation": "models.CustomHeadersRuntime"}
    root = repository(tmp_path, settings, models=HEADERS)
    # What a client puts there itself is overridden.
    body = {"parameters": {"headers": {"x-from-client": "forged"}}, "inputs": []}
    async with served([], model_repository_root=root, executor="inline") as server:
        answer = await post(server, "headers", body, **{"X-From-Client": "yes"})
    assert (answer.headers["foo"], answer.headers["seen"]) == ("bar", "yes")
    assert "headers" not in answer.json().get("parameters", {})
    assert "'x-from-client': 'yes'" in capsys.readouterr().out


SIMILARITY = """
from mlsrv.codecs import decode_args
from mlsrv import MLModel
from typing import List
import numpy as np

class Document:
    def __init__(self, text):
        self.words = set(text.split())
    def similarity(self, other):
        return len(self.words & other.words) / len(self.words | other.words)

class MyKulModel(MLModel):
    async def load(self):
        self.model = Document

    @decode_args
    async def predict(self, docs: List[str]) -> np.ndarray:
        doc1 = self.model(docs[0])
        doc2 = self.model(docs[1])
        return np.array(doc1.similarity(doc2))
"""


async def test_the_tutorials_service(tmp_path: Path) -> None:
    """Chapters 4 and 5: the request and the answer have the form that is printed there."""
    settings = {"name": "doc-sim-model", "implementation": "my_model.MyKulModel"}
    root = repository(tmp_path, settings, my_model=SIMILARITY)
    barbie, oppenheimer = "Barbie is a comedy", "Oppenheimer is a thriller"
    inference_request = {
        "inputs": [
            StringCodec.encode_input(name="docs", payload=[barbie, oppenheimer], use_bytes=False).dict()
        ]
    }
    assert inference_request == {
        "inputs": [
            {
                "name": "docs",
                "shape": [2, 1],
                "datatype": "BYTES",
                "parameters": {"content_type": "str"},
                "data": [barbie, oppenheimer],
            }
        ]
    }
    async with served([], model_repository_root=root, executor="inline") as server:
        answer = (await post(server, "doc-sim-model", inference_request)).json()
    assert answer.pop("id")
    assert answer == {
        "model_name": "doc-sim-model",
        "outputs": [
            {
                "name": "output-0",
                "shape": [1],
                "datatype": "FP64",
                "parameters": {"content_type": "np"},
                "data": [2 / 6],
            }
        ],
    }


# What NumPyro does with samples, as far as this model needs it: the framework itself is too heavy for a test.
NUMPYRO = """
import numpy as np

class Predictive:
    def __init__(self, model, samples):
        self.model, self.samples = model, samples

    def __call__(self, rng_key, **inputs):
        return self.model(self.samples, rng_key, **inputs)

class random:
    @staticmethod
    def PRNGKey(seed):
        return np.random.default_rng(seed)
"""
DIVORCE = """
import json
import numpy as np

from small_numpyro import Predictive, random
from mlsrv import MLModel
from mlsrv.codecs import decode_args
from mlsrv.utils import get_model_uri
from typing import Optional


class NumpyroModel(MLModel):
    async def load(self) -> bool:
        model_uri = await get_model_uri(self._settings)
        with open(model_uri) as model_file:
            raw_samples = json.load(model_file)

        self._samples = {}
        for k, v in raw_samples.items():
            self._samples[k] = np.array(v)

        self._predictive = Predictive(self._model, self._samples)
        return True

    @decode_args
    async def predict(
        self,
        marriage: Optional[np.ndarray] = None,
        age: Optional[np.ndarray] = None,
        divorce: Optional[np.ndarray] = None,
    ) -> np.ndarray:
        predictions = self._predictive(
            rng_key=random.PRNGKey(0), marriage=marriage, age=age, divorce=divorce
        )
        obs = predictions["obs"]
        obs_mean = obs.mean()
        return np.asarray(obs_mean)

    def _model(self, samples, rng, marriage=None, age=None, divorce=None):
        mu = samples["a"]
        if marriage is not None:
            mu = mu + samples["bM"] * marriage
        return {"obs": rng.normal(mu, samples["sigma"])}
"""


async def test_a_model_of_samples(tmp_path: Path) -> None:
    """11.1.6: ``uri`` beside the settings, `get_model_uri`, optional inputs, one number back."""
    settings = {
        "name": "numpyro-divorce",
        "implementation": "models.NumpyroModel",
        "parameters": {"uri": "./numpyro-divorce.json"},
    }
    root = repository(tmp_path, settings, models=DIVORCE, small_numpyro=NUMPYRO)
    (tmp_path / "settings.json").write_text(json.dumps({"debug": "true"}))
    samples = {"a": [0.5, 1.5], "bM": [1.0, 1.0], "sigma": [1e-9, 1e-9]}
    (tmp_path / "numpyro-divorce/numpyro-divorce.json").write_text(json.dumps(samples))
    x_0 = np.array([28.0])
    inference_request = InferenceRequest(inputs=[NumpyCodec.encode_input(name="marriage", payload=x_0)])
    async with served([], model_repository_root=root, executor="inline") as server:
        answer = (await post(server, "numpyro-divorce", inference_request.dict())).json()
    (output,) = answer["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("output-0", [1], "FP64")
    assert output["data"] == pytest.approx([29.0])
