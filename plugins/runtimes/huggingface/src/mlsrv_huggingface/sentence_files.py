"""Sentence files: what a model of sentence-transformers says of pooling, beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv_huggingface.location import read_json

_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}


@frozen
class SentenceFiles:
    """Pooling of a model.

    Attributes:
        pooling: "mean", "cls", "max" or "lasttoken".
        normalizes: whether vectors get the length 1.
        max_tokens: tokens of a text that count, or None.
    """

    pooling: str = "mean"
    normalizes: bool = False
    max_tokens: int | None = None

    @classmethod
    def of(cls, name: str, folder: Path) -> SentenceFiles:
        """Return what the files in a folder say; without any, the mean of all tokens.

        Raises:
            ModelLoadError: the model has a part beside pooling and normalising, or several poolings.
        """
        modules = _modules(folder / "modules.json")
        if not modules:
            return cls()
        kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
        if others := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
            raise ModelLoadError(
                f"Model {name}: the folder {folder} has the module {others[0]} of "
                "sentence-transformers, which "
                "is not supported; serve it as a custom model."
            )
        pooling = "mean"
        for module, kind in zip(modules, kinds, strict=True):
            if kind == "Pooling":
                pooling = _pooling(name, folder / str(module.get("path", "")) / "config.json")
        limit = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
        return cls(pooling, "Normalize" in kinds, limit if isinstance(limit, int) else None)


def _modules(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _pooling(name: str, path: Path) -> str:
    stated = read_json(path)
    chosen = [key for key, value in stated.items() if key.startswith("pooling_mode") and value is True]
    if isinstance(stated.get("pooling_mode"), str):
        chosen = [f"pooling_mode_{stated['pooling_mode']}"]
    modes = [_MODES.get(key) or _MODES.get(f"{key}_tokens") or _MODES.get(f"{key}_token") for key in chosen]
    if len(modes) != 1 or modes[0] is None:
        raise ModelLoadError(
            f"Model {name}: {path} asks for the pooling {', '.join(chosen) or 'none'}, which is not "
            "supported; "
            f"set parameters.extra.pooling to one of {', '.join(sorted(_MODES.values()))}."
        )
    return modes[0]
