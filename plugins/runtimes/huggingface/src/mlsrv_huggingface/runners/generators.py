"""Generators: the runner that generates texts, in the framework that files and settings ask for."""

from __future__ import annotations

from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.runners.base import Runner
from mlsrv_huggingface.task import Task


def open_generator(source: Source, task: Task) -> Runner:
    """Return the runner of a model: in ONNX Runtime where its folder has an export that is wanted, else in
    PyTorch, or by optimum.

    Raises:
        ModelLoadError: the model cannot be read.
    """
    path = None if source.uses_optimum else source.onnx_file
    if path is None:
        from mlsrv_huggingface.runners.torch_generation import TorchGenerationRunner

        return TorchGenerationRunner(source, task)
    from mlsrv_huggingface.runners.onnx_generation import OnnxGenerationRunner

    return OnnxGenerationRunner(source, task, path)
