"""ONNX session: opens exported graphs, and gives the inputs that no tokenizer makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlsrv.errors import ModelFailed, ModelLoadError
from mlsrv_huggingface.configuration import Options
from mlsrv_runtime_kit import share_of_cores, unreadable


def session_options(model: str, settings: Options) -> Any:
    """Return the options of sessions of a model: its threads. Raises `ModelLoadError`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelLoadError(
            f"Model {model} needs ONNX Runtime (pip install mlsrv-huggingface[onnx])."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.intra_op_threads or share_of_cores()
    options.inter_op_num_threads = settings.inter_op_threads or 1
    # Threads that wait for the next operation would take processor time from other workers and models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def open_session(model: str, settings: Options, path: Path) -> Any:
    """Return the session of a file.

    Raises:
        ModelLoadError: ONNX Runtime is not installed, or cannot read it.
    """
    options = session_options(model, settings)
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # ONNX Runtime's exceptions have no base of their own
        raise unreadable(model, path, "an ONNX model", error, "export it again") from error


def absent(model: str, name: str, ids: Any) -> Any:
    """Return an input that a graph wants beside tokens int64 [texts, tokens]. Raises `ModelFailed`."""
    if name == "attention_mask":
        return np.ones_like(ids)
    if name == "token_type_ids":
        return np.zeros_like(ids)
    if name == "position_ids":
        return np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy()
    raise ModelFailed(f'Model {model}: its graph needs the input "{name}", which no tokenizer gives.')
