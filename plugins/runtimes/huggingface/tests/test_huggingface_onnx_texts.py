"""Texts generated in ONNX Runtime: those of PyTorch, also as streams, and without PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsrv.errors import InferenceError, ModelLoadError
from mlsrv.types import InferenceRequest, Parameters, RequestInput
from mlsrv_huggingface.runners.onnx_generation import OnnxGenerationRunner
from onnx_exports import exported, exported_writer
from tiny_models import TEXTS
from tiny_requests import ask, texts


@pytest.fixture(scope="module", params=[True, False], ids=["memory", "no memory"])
def graph(request: pytest.FixtureRequest, folders: Any, tmp_path_factory: Any) -> Path:
    return exported_writer(folders("writer"), tmp_path_factory.mktemp("onnx") / "m", request.param)


def pieces_of(model: Any, prompt: str, **options: Any) -> list[dict[str, Any]]:
    """The outputs of a stream, by name."""
    asked = InferenceRequest(inputs=[texts("text_input", [prompt])], parameters=Parameters(**options))
    return [
        {output.name: output.data for output in response.outputs}
        for response in model.predict_stream([asked])
    ]


def test_the_texts_of_pytorch(load: Any, graph: Path) -> None:
    model, other = load(graph, "text-generation"), load("writer")
    assert isinstance(model._runner, OnnxGenerationRunner)
    for options in (
        {},
        {"repetition_penalty": 1.4},
        {"no_repeat_ngram_size": 2},
        {"min_new_tokens": 9},
        {"frequency_penalty": 1.5, "presence_penalty": 0.5},
        {"return_full_text": False},
    ):
        expected = ask(other, texts("args", TEXTS), max_new_tokens=10, **options)
        assert ask(model, texts("args", TEXTS), max_new_tokens=10, **options) == expected, options
    names = ["completion_tokens", "prompt_tokens"]
    found, expected = (
        ask(one, texts("args", TEXTS), outputs=names, max_new_tokens=10) for one in (model, other)
    )
    assert all(np.array_equal(found[name], expected[name]) for name in names)


def test_streams(load: Any, graph: Path) -> None:
    model, other = load(graph, "text-generation"), load("writer")
    found, expected = (pieces_of(one, TEXTS[0], max_new_tokens=12, logprobs=2) for one in (model, other))
    assert [one["text_output"] for one in found] == [one["text_output"] for one in expected]
    assert found[-1]["finish_reason"] == expected[-1]["finish_reason"]
    for one, two in zip(found, expected, strict=True):
        for token, same in zip(*(json.loads(piece["logprobs"][0]) for piece in (one, two)), strict=True):
            assert token["token"] == same["token"]
            assert token["logprob"] == pytest.approx(same["logprob"], abs=1e-4)
    assert len(found) > 3


def test_draws(load: Any, graph: Path) -> None:
    model = load(graph, "text-generation")
    drawn = {"do_sample": True, "temperature": 2.0, "max_new_tokens": 8}
    same = [ask(model, texts("args", TEXTS[:1]), seed=7, **drawn) for _ in range(3)]
    assert same[0] == same[1] == same[2]
    assert (
        len({json.dumps(ask(model, texts("args", TEXTS[:1]), seed=seed, **drawn)) for seed in range(6)}) > 1
    )
    # Limits that leave one token.
    greedy = ask(model, texts("args", TEXTS[:1]), max_new_tokens=8)
    for limit in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}):
        assert ask(model, texts("args", TEXTS[:1]), seed=1, **(drawn | limit)) == greedy


def test_stop_texts_and_limits(load: Any, graph: Path) -> None:
    model = load(graph, "text-generation")
    (whole,) = ask(model, texts("args", TEXTS[:1]), max_new_tokens=12, return_full_text=False)
    text = whole["generated_text"]
    stop = text[3:5]
    (cut,) = ask(model, texts("args", TEXTS[:1]), max_new_tokens=12, return_full_text=False, stop=[stop])
    assert cut["generated_text"] == text[: text.index(stop)]
    with pytest.raises(InferenceError, match='a model in ONNX Runtime has one text; leave "num_beams" out'):
        ask(model, texts("args", TEXTS[:1]), num_beams=2)


def test_graphs_of_other_models(load: Any, folders: Any, tmp_path: Path) -> None:
    folder = exported(folders("masked"), tmp_path / "m", "AutoModel", "last_hidden_state")
    with pytest.raises(ModelLoadError, match="is no export of a model that continues texts"):
        load(folder, "text-generation")


def test_other_tasks_need_optimum(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlsrv_huggingface.loading.is_installed", lambda: False)
    for which in ("sequences", "vision"):
        with pytest.raises(ModelLoadError, match=r"no model\.onnx|optimum-onnx only"):
            load(which, optimum_model=True)


WITHOUT_TORCH = """
import sys

for name in ("torch", "safetensors", "optimum"):
    sys.modules[name] = None  # as if it were not installed

from mlsrv import ModelSettings
from mlsrv.types import InferenceRequest, Parameters, RequestInput
from mlsrv_huggingface import HuggingFaceRuntime

extra = {"task": "text-generation"}
model = HuggingFaceRuntime(ModelSettings(name="m", parameters={"uri": sys.argv[1], "extra": extra}))
model.load()
asked = RequestInput("text_input", [1], "BYTES", [sys.argv[2]])
parameters = Parameters(max_new_tokens=6)
(output, *_) = model.predict(InferenceRequest(inputs=[asked], parameters=parameters)).outputs
print(ascii(output.data[0]))
"""


def test_without_torch(load: Any, graph: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(graph), TEXTS[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    request = InferenceRequest(
        inputs=[RequestInput("text_input", [1], "BYTES", [TEXTS[0]])], parameters=Parameters(max_new_tokens=6)
    )
    assert done.stdout.strip() == ascii(load("writer").predict(request).outputs[0].data[0])
