"""Torch encoder: a model that makes arrays of tokens, in PyTorch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mlsrv_huggingface.encoder import Encoder
from mlsrv_huggingface.loading import Source

_OUTPUTS = ("last_hidden_state", "logits", "start_logits", "end_logits")


class TorchEncoder(Encoder):
    """A model of transformers.

    Args:
        source: of the model.
        auto_class: the class that reads it, such as "AutoModel".
    """

    def __init__(self, source: Source, auto_class: str) -> None:
        self._torch = source.torch()
        self.model = source.model(auto_class)
        self._device = source.device
        parameters = inspect.signature(self.model.forward).parameters.values()
        self._takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
        self._names = {one.name for one in parameters}

    def __call__(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        torch = self._torch
        inputs = {
            name: torch.from_numpy(array).to(self._device)
            for name, array in arrays.items()
            if name in self._names or (self._takes_all and name != "token_type_ids")
        }
        with torch.inference_mode():
            found = self.model(**inputs)
        return {name: found[name].float().cpu().numpy() for name in _OUTPUTS if found.get(name) is not None}
