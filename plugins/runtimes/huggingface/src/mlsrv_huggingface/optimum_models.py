"""Optimum: models of transformers in ONNX Runtime, by optimum-onnx where that is installed."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from mlsrv.errors import ModelLoadError
from mlsrv_huggingface.configuration import Options
from mlsrv_huggingface.onnx_session import session_options

_ENCODER = "ORTModelForFeatureExtraction"
"""What optimum calls `AutoModel`."""
_TASKS = {
    "audio-classification": ("AutoModelForAudioClassification", ("feature_extractor",)),
    "fill-mask": ("AutoModelForMaskedLM", ("tokenizer",)),
    "image-classification": ("AutoModelForImageClassification", ("image_processor",)),
    "image-segmentation": ("AutoModelForSemanticSegmentation", ("image_processor",)),
    "token-classification": ("AutoModelForTokenClassification", ("tokenizer",)),
    "zero-shot-classification": ("AutoModelForSequenceClassification", ("tokenizer",)),
    "zero-shot-image-classification": (
        "AutoModelForZeroShotImageClassification",
        ("image_processor", "tokenizer"),
    ),
}
"""For tasks of pipelines the class of their models, and what else a pipeline needs."""


def is_installed() -> bool:
    """Return whether optimum-onnx is there, without importing it."""
    if importlib.util.find_spec("optimum") is None:
        return False
    return importlib.util.find_spec("optimum.onnxruntime") is not None


def open_model(name: str, options: Options, folder: Path, auto_class: str, exported: Path | None) -> Any:
    """Return a model with the methods of one of PyTorch.

    Args:
        name: the model's, for messages.
        options: its settings.
        folder: of its files.
        auto_class: the class of transformers that reads it, such as "AutoModelForCausalLM".
        exported: its graph; None if it is to be exported first.

    Raises:
        ModelLoadError: optimum has no such models, or cannot read this one.
    """
    library = importlib.import_module("optimum.onnxruntime")
    kind_name = _ENCODER if auto_class == "AutoModel" else auto_class.replace("Auto", "ORT")
    kind = getattr(library, kind_name, None)
    if kind is None:
        raise ModelLoadError(
            f"Model {name}: optimum has no {kind_name}; leave parameters.extra.optimum_model out."
        )
    return kind.from_pretrained(
        str(folder),
        export=exported is None,
        local_files_only=True,
        trust_remote_code=options.trust_remote_code,
        session_options=session_options(name, options),
    )


def parts_of(name: str, task: str) -> tuple[str, tuple[str, ...]]:
    """Return the class of transformers whose models do a task, and what else its pipeline needs.

    Raises:
        ModelLoadError: optimum has no such models.
    """
    if task not in _TASKS:
        raise ModelLoadError(
            f"Model {name}: optimum does not do the task {task}; leave parameters.extra.optimum_model out."
        )
    return _TASKS[task]
