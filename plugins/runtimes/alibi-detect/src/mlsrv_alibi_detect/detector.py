"""Detector: one of alibi-detect, read from the folder that it was saved to."""

from __future__ import annotations

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

from mlsrv.errors import InvalidModelURI, ModelLoadError
from mlsrv_alibi_detect.state import recover
from mlsrv_runtime_kit import import_library, licence_of, unreadable

logger = logging.getLogger("mlsrv.alibi-detect")

ARTIFACTS = ("config.toml", "meta.dill", "meta.pickle")
"""Files by which a folder is known as a saved detector; the last two are of detectors in the older form."""

_MODULES = {"cd": "drift", "od": "outlier", "ad": "adversarial"}

_FIRST_BUSL = (0, 12)
"""The first release under the Business Source License."""


def library(model: str) -> Any:
    """Return the module with the function `load_detector`, and log the licence of the library.

    Raises:
        ModelLoadError: alibi-detect is not installed where the model runs.
    """
    version = import_library(model, "alibi-detect", "mlsrv-alibi-detect", ["saving"])
    logger.info("Model %s: %s", model, licence_of("alibi-detect", version, _FIRST_BUSL))
    return importlib.import_module("alibi_detect.saving")


def read(model: str, folder: Path) -> Any:
    """Return the detector in a folder, with the state that was saved last.

    Such folders hold pickles, which run code when they are loaded.

    Raises:
        ModelLoadError: there is none, it cannot be read, or what it needs is not installed.
    """
    if not folder.is_dir() or not any((folder / name).is_file() for name in ARTIFACTS):
        raise InvalidModelURI(
            f"Model {model}: {folder} is no folder with a saved detector ({', '.join(ARTIFACTS)})."
        )
    saving = library(model)
    recover(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return saving.load_detector(folder)
    except ImportError as error:
        raise missing(model, folder, error) from error
    except Exception as error:  # a damaged file fails in any way
        raise unreadable(model, folder, "a detector of alibi-detect", error, "save it again") from error


def missing(model: str, folder: Path, error: ImportError) -> ModelLoadError:
    """Return the error for a detector whose backend is not installed."""
    text = " ".join(str(error).split())
    for backend, name in (("tensorflow", "TensorFlow"), ("keops", "KeOps"), ("torch", "PyTorch")):
        if backend in text.lower():
            return ModelLoadError(
                f"Model {model}: the detector in {folder} needs {name}, which is not installed where the "
                f"model runs (pip install alibi-detect[{backend}])."
            )
    return ModelLoadError(f"Model {model}: the detector in {folder} cannot be loaded ({text[:300]}).")


def kind_of(detector: Any) -> tuple[str, str]:
    """Return the type of a detector and its method, as MLServer names them: ``("drift", "ks")``."""
    *_, package, module = type(detector).__module__.split(".")
    return _MODULES.get(package, "unknown"), module
