"""Encoders: the encoder of a model, in the framework that its files and its settings ask for."""

from __future__ import annotations

from mlsrv_huggingface.encoder import Encoder
from mlsrv_huggingface.loading import Source


def open_encoder(source: Source, auto_class: str) -> Encoder:
    """Return a model in ONNX Runtime if its folder has an export and the settings want it, else in PyTorch.

    Raises:
        ModelLoadError: it cannot be read.
    """
    path = source.onnx_file
    if path is None:
        from mlsrv_huggingface.torch_encoder import TorchEncoder

        return TorchEncoder(source, auto_class)
    from mlsrv_huggingface.onnx_encoder import OnnxEncoder

    return OnnxEncoder(source, path)
