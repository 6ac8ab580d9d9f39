"""Location: the folder that a model is read from, and whether its files may be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlsrv.errors import InvalidModelURI, ModelLoadError
from mlsrv.settings import ModelSettings
from mlsrv.utils import local_path
from mlsrv_huggingface.configuration import Options

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_OTHERS = ("*.h5", "*.msgpack", "*.ot", "*.tflite", "*.onnx*", "openvino/*", "coreml/*")
"""Weights of other frameworks, which are not fetched."""


def model_folder(settings: ModelSettings, options: Options) -> Path:
    """Return the folder of a model; one of the hub is fetched, or found in the hub's cache on this machine.

    Raises:
        InvalidModelURI: there is no model there.
        ModelLoadError: it is not on this machine, and may not be fetched, or cannot be.
    """
    if options.pretrained_model:
        return _named(settings, options, options.pretrained_model)
    path = local_path(settings.parameters.uri)
    if path is None:
        raise InvalidModelURI(
            f"Model {settings.name} names no folder; set parameters.uri, or "
            "parameters.extra.pretrained_model."
        )
    path = path.parent if path.is_file() else path
    if not (path / "config.json").is_file():
        raise InvalidModelURI(
            f"Model {settings.name}: the folder {path} has no config.json of transformers; put the "
            "model there "
            "(save_pretrained), or name one in parameters.extra.pretrained_model."
        )
    return path


def tokenizer_folder(settings: ModelSettings, options: Options, folder: Path) -> Path:
    """Return the folder of the tokenizer: the model's, if none is named. Raises as `model_folder`."""
    name = options.pretrained_tokenizer
    return folder if not name else _named(settings, options, name)


def check_weights(name: str, folder: Path, options: Options) -> None:
    """Refuse weights that are pickles, unless a setting allows them.

    Raises:
        ModelLoadError: there are no others, or none at all.
    """
    if any(folder.glob("*.safetensors")):
        return
    pickled = [path.name for pattern in _PICKLES for path in sorted(folder.glob(pattern))]
    if not pickled:
        raise ModelLoadError(f"Model {name}: the folder {folder} has no weights (*.safetensors).")
    if not options.allow_pickle:
        raise ModelLoadError(
            f"Model {name}: {folder / pickled[0]} is a pickle, which can run code when it is read; "
            "convert it to "
            "safetensors, or set parameters.extra.allow_pickle to true if you trust its source."
        )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is no such file, or it holds something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def has_model_type(config: Path) -> bool:
    """Return whether a file is a configuration of transformers."""
    return isinstance(read_json(config).get("model_type"), str)


def _named(settings: ModelSettings, options: Options, name: str) -> Path:
    found = local_path(name)
    candidates = [found] if found is not None else []
    if found is not None and not found.is_absolute() and settings.folder is not None:
        candidates.insert(0, settings.folder / found)
    for path in candidates:
        if (path / "config.json").is_file() or (path / "tokenizer_config.json").is_file():
            return path
    return _of_hub(settings.name, options, name)


def _of_hub(model: str, options: Options, name: str) -> Path:
    from huggingface_hub import snapshot_download

    ignored = [*_OTHERS, *(() if options.allow_pickle else _PICKLES)]
    try:
        return Path(snapshot_download(name, local_files_only=not options.allow_hub, ignore_patterns=ignored))
    except Exception as error:  # of the hub, the network, or a name that cannot be one
        if not options.allow_hub:
            raise ModelLoadError(
                f"Model {model}: {name!r} is neither a folder with a model nor in the hub's cache on this "
                "machine; name the folder, or set parameters.extra.allow_hub to true to fetch it."
            ) from error
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelLoadError(
            f"Model {model}: {name!r} cannot be fetched from the hub: {why[0][:200]}"
        ) from error
