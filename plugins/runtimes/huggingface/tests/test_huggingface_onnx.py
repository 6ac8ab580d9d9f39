"""Models in ONNX Runtime: the answers of PyTorch, also where PyTorch is not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime.quantization
import pytest

from mlsrv.errors import ModelLoadError
from mlsrv.types import InferenceRequest, Parameters, RequestInput, RequestOutput
from mlsrv_huggingface.onnx_encoder import OnnxEncoder
from onnx_exports import exported
from tiny_models import TEXTS


def asked(values: list[str], *outputs: str) -> InferenceRequest:
    return InferenceRequest(
        inputs=[RequestInput("args", [len(values)], "BYTES", list(values))],
        parameters=Parameters(),
        outputs=[RequestOutput(name) for name in outputs] or None,
    )


def tensor(model: Any, values: list[str], name: str) -> Any:
    (output,) = model.predict(asked(values, name)).outputs
    return output.data.reshape(output.shape)


@pytest.fixture(scope="session")
def graph_of_minilm(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "minilm"
    return exported(minilm, folder, "AutoModel", "last_hidden_state")


def test_embeddings(load: Any, minilm: Path, graph_of_minilm: Path) -> None:
    model = load(graph_of_minilm, "embedding")
    assert isinstance(model._runner._encoder, OnnxEncoder)
    expected = tensor(load(minilm, "embedding"), TEXTS, "embedding")
    assert np.allclose(tensor(model, TEXTS, "embedding"), expected, atol=2e-5)


def test_integers_of_8_bits(load: Any, minilm: Path, graph_of_minilm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "int8"
    shutil.copytree(graph_of_minilm, folder)
    whole = folder / "model.onnx"
    onnxruntime.quantization.quantize_dynamic(str(graph_of_minilm / "model.onnx"), whole, per_channel=True)
    assert whole.stat().st_size < (graph_of_minilm / "model.onnx").stat().st_size / 3
    expected = tensor(load(minilm, "embedding"), TEXTS, "embedding")
    found = tensor(load(folder, "embedding"), TEXTS, "embedding")
    assert (found * expected).sum(axis=1).min() > 0.95


def test_classes_and_logits(load: Any, folders: Any, tmp_path: Path) -> None:
    source = folders("classifier")
    folder = exported(source, tmp_path / "m", "AutoModelForSequenceClassification", "logits", weights=True)
    plain = load(folder, "text-classification")
    assert not isinstance(plain._runner._encoder, OnnxEncoder)  # there are weights, and nobody asked for it
    for extra in ({"optimum_model": True}, {"framework": "onnx"}):
        model = load(folder, "text-classification", **extra)
        assert isinstance(model._runner._encoder, OnnxEncoder)
        assert np.allclose(tensor(model, TEXTS, "logits"), tensor(plain, TEXTS, "logits"), atol=2e-5)
        (output,) = model.predict(asked(TEXTS)).outputs
        (other,) = plain.predict(asked(TEXTS)).outputs
        pairs = zip(map(json.loads, output.data), map(json.loads, other.data), strict=True)
        assert all(one["label"] == two["label"] for one, two in pairs)


def test_questions(load: Any, folders: Any, tmp_path: Path) -> None:
    source = folders("answering")
    folder = exported(source, tmp_path / "m", "AutoModelForQuestionAnswering", "start_logits", "end_logits")
    request = InferenceRequest(
        inputs=[
            RequestInput("question", [1], "BYTES", ["who lives in paris?"]),
            RequestInput("context", [1], "BYTES", [TEXTS[3]]),
        ]
    )
    found, expected = (
        json.loads(model.predict(request).outputs[0].data[0])
        for model in (load(folder, "question-answering"), load(source, "question-answering"))
    )
    assert found["answer"] == expected["answer"]
    assert found["score"] == pytest.approx(expected["score"], rel=1e-3)


WITHOUT_TORCH = """
import sys

for name in ("torch", "safetensors", "optimum"):
    sys.modules[name] = None  # as if it were not installed

import asyncio
from mlsrv import Kernel, ModelSettings
from mlsrv.testing import text_request


async def main(folder, task):
    extra = {"task": task} if task else {}
    model = ModelSettings(name="m", implementation="huggingface", parameters={"uri": folder, "extra": extra})
    async with Kernel({"executor": "inline"}, models=[model]) as kernel:
        await kernel.loaded()
        (item,) = await kernel.index()
        if item.reason:
            print(item.reason)
            return
        response = await kernel.infer(text_request("m", ["one text", "another one"]))
        print([output.shape for output in response.outputs])


asyncio.run(main(*sys.argv[1:]))
"""


def without_torch(folder: Path, task: str) -> str:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(folder), task]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_torch(graph_of_minilm: Path, minilm: Path) -> None:
    assert without_torch(graph_of_minilm, "embedding") == "[[2, 384]]"
    assert without_torch(minilm, "embedding") == (
        "Model m needs PyTorch (pip install mlsrv-huggingface[torch]), or a model.onnx in its folder."
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot be read as an ONNX model"), (b"x" * 99, "cannot be read as an ONNX")],
)
def test_damaged_graphs(load: Any, folders: Any, tmp_path: Path, content: bytes, message: str) -> None:
    folder = tmp_path / "m"
    shutil.copytree(folders("classifier"), folder)
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ModelLoadError, match=message):
        load(folder, "text-classification", optimum_model=True)
