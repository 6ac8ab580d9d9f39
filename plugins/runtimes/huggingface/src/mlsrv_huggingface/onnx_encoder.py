"""ONNX encoder: a model that makes arrays of tokens, in ONNX Runtime and without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlsrv.errors import ModelLoadError
from mlsrv_huggingface.encoder import Encoder
from mlsrv_huggingface.loading import Source
from mlsrv_huggingface.onnx_session import absent, open_session

_ALIASES = {"token_embeddings": "last_hidden_state", "hidden_states": "last_hidden_state"}


class OnnxEncoder(Encoder):
    """An exported graph.

    Args:
        source: of the model.
        path: the file.

    Raises:
        ModelLoadError: ONNX Runtime is not installed, the file cannot be read, or its inputs are no tokens.
    """

    def __init__(self, source: Source, path: Path) -> None:
        self._session = open_session(source.name, source.options, path)
        self._name = source.name
        self._inputs = {node.name: node.type for node in self._session.get_inputs()}
        self._outputs = [node.name for node in self._session.get_outputs()]
        if "input_ids" not in self._inputs:
            raise ModelLoadError(
                f"Model {source.name}: {path} has the inputs {', '.join(self._inputs)}, and no "
                "input_ids: it is "
                "no export of a text model; serve it with the runtime onnx."
            )

    def __call__(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        feeds = {}
        for name, kind in self._inputs.items():
            array = arrays.get(name)
            if array is None:
                array = absent(self._name, name, arrays["input_ids"])
            feeds[name] = array.astype(np.int32) if kind == "tensor(int32)" else array
        found = self._session.run(self._outputs, feeds)
        return {
            _ALIASES.get(name, name): np.asarray(array, np.float32)
            for name, array in zip(self._outputs, found, strict=True)
        }
