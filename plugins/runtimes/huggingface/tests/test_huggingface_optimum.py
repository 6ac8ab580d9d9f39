"""Models in ONNX Runtime by way of optimum, where it is installed: it needs transformers 4."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsrv.codecs import NumpyCodec
from mlsrv.errors import ModelLoadError, OutputNotFound
from mlsrv.types import InferenceRequest, Parameters
from mlsrv_huggingface import ImageCodec
from onnx_exports import exported_writer
from tiny_models import TEXTS
from tiny_requests import ask, close, picture, texts

library = pytest.importorskip("optimum.onnxruntime")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # optimum's exporter is older than torch
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Frees models while their warnings are ignored: optimum's folders of exports go with them."""
    yield
    gc.collect()


def streamed(model: Any, text: str, **options: Any) -> str:
    asked = InferenceRequest(inputs=[texts("args", [text])], parameters=Parameters(**options))
    return "".join(response.outputs[0].data[0] for response in model.predict_stream([asked]))


def test_a_classifier_is_exported(load: Any) -> None:
    model, other = load("classifier", optimum_model=True), load("classifier")
    assert isinstance(model._runner._encoder.model, library.ORTModelForSequenceClassification)
    close(ask(model, texts("args", TEXTS)), ask(other, texts("args", TEXTS)), 1e-4)
    names = ["logits"]
    found, expected = (ask(one, texts("args", TEXTS), outputs=names)["logits"] for one in (model, other))
    assert np.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("is_exported", [False, True])
def test_texts(load: Any, folders: Any, tmp_path: Path, is_exported: bool) -> None:
    folder = folders("writer")
    if is_exported:
        folder = exported_writer(folder, tmp_path / "m", remembers=True)
    model, other = load(folder, "text-generation", optimum_model=True), load("writer")
    assert isinstance(model._runner._model, library.ORTModelForCausalLM)
    for options in ({}, {"num_beams": 3, "num_return_sequences": 2}):
        found, expected = (
            ask(one, texts("args", TEXTS), max_new_tokens=8, **options) for one in (model, other)
        )
        assert found == expected
    assert streamed(model, TEXTS[0], max_new_tokens=8) == streamed(other, TEXTS[0], max_new_tokens=8)


def test_sequences(load: Any) -> None:
    model, other = load("sequences", optimum_model=True), load("sequences")
    assert isinstance(model._runner._model, library.ORTModelForSeq2SeqLM)
    found, expected = (ask(one, texts("args", TEXTS), max_new_tokens=8) for one in (model, other))
    assert found == expected
    assert streamed(model, TEXTS[0], max_new_tokens=8) == streamed(other, TEXTS[0], max_new_tokens=8)


def test_images(load: Any) -> None:
    model, other = load("vision", optimum_model=True), load("vision")
    assert isinstance(model._runner.pipeline.model, library.ORTModelForImageClassification)
    pictures = ImageCodec.encode_input("args", [picture(0), picture(90)])
    close(ask(model, pictures), ask(other, pictures), 1e-4)
    with pytest.raises(OutputNotFound, match="logits"):
        ask(model, pictures, outputs=["logits"])


def test_sounds_and_masked_words(load: Any) -> None:
    sound = NumpyCodec.encode_input("args", np.sin(np.arange(1600, dtype=np.float32)))
    for which, asked in (("hearing", sound), ("masked", texts("args", ["a [MASK] house"]))):
        close(ask(load(which, optimum_model=True), asked), ask(load(which), asked), 1e-4)


def test_what_optimum_has_not(load: Any) -> None:
    with pytest.raises(ModelLoadError, match="optimum has no ORTModelForVideoClassification"):
        load("video-classification", optimum_model=True)
    with pytest.raises(ModelLoadError, match="optimum"):
        load("keypoint-matching", optimum_model=True)
