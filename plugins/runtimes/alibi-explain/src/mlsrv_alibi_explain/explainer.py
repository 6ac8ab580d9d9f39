"""Explainer: one of alibi, read from the folder that it was saved to, or made with parameters."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any

from mlsrv.errors import InvalidModelURI, ModelLoadError
from mlsrv_alibi_explain.options import Options
from mlsrv_runtime_kit import import_library, licence_of, missing_module, unreadable

logger = logging.getLogger("mlsrv.alibi-explain")

ARTIFACT = "meta.dill"
"""File by which a folder is known as a saved explainer."""

_FIRST_BUSL = (0, 9, 5)
"""The first release under the Business Source License."""

_FRAMEWORKS = {"tensorflow": "TensorFlow", "shap": "shap", "torch": "PyTorch"}


def library(model: str) -> None:
    """Import alibi, and log its licence.

    Raises:
        ModelLoadError: it is not installed where the model runs.
    """
    version = import_library(model, "alibi", "mlsrv-alibi-explain", ["saving", "explainers"])
    logger.info("Model %s: %s", model, licence_of("alibi", version, _FIRST_BUSL))


def made(model: str, options: Options, folder: Path | None, predictor: Any) -> Any:
    """Return the explainer in a folder, or one that is made with ``init_parameters``.

    Such folders hold pickles, which run code when they are loaded.

    Args:
        model: its name, for messages.
        options: its settings.
        folder: where it was saved to; None if it is made.
        predictor: what it explains: a function of rows, or a fitted model.

    Raises:
        ModelLoadError: it cannot be read or made, or what it needs is not installed.
    """
    kind = options.kind
    library(model)
    if kind.needs == "tensorflow" and importlib.util.find_spec("tensorflow") is None:
        raise needing(model, kind.cls, "tensorflow")
    cls = getattr(importlib.import_module("alibi.explainers"), kind.cls)
    if folder is None:
        return _new(model, cls, options, predictor)
    if not (folder / ARTIFACT).is_file():
        raise InvalidModelURI(f"Model {model}: {folder} is no folder with a saved explainer ({ARTIFACT}).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = importlib.import_module("alibi.saving").load_explainer(folder, predictor)
    except ImportError as error:
        raise missing(model, kind.cls, error) from error
    except NotImplementedError as error:
        raise ModelLoadError(
            f"Model {model}: alibi cannot load a saved {kind.cls}; leave parameters.uri out, and give "
            "parameters.extra.init_parameters."
        ) from error
    except Exception as error:  # a damaged file fails in any way
        raise unreadable(model, folder, "an explainer of alibi", error, "save it again") from error
    if not isinstance(found, cls):
        raise ModelLoadError(
            f"Model {model}: {folder} has a saved {type(found).__name__}, not the {kind.cls} that "
            "parameters.extra.explainer_type names."
        )
    return found


def _new(model: str, cls: Any, options: Options, predictor: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            explainer = cls(predictor, **(options.init_parameters or {}))
            if cls.__name__ == "TreeShap":
                explainer.fit()  # without a background: the trees tell what they were trained with
            return explainer
    except (ImportError, NotImplementedError) as error:
        raise missing(model, options.kind.cls, error) from error
    except Exception as error:  # of parameters that were given as they are
        raise ModelLoadError(
            f"Model {model}: a {options.kind.cls} cannot be made with parameters.extra.init_parameters "
            f"({type(error).__name__}: {' '.join(str(error).split())[:300]})."
        ) from error


def missing(model: str, cls: str, error: Exception) -> ModelLoadError:
    """Return the error for an explainer whose framework is not installed."""
    text = " ".join(str(error).split())
    for extra in _FRAMEWORKS:
        if extra in text.lower():
            return needing(model, cls, extra)
    return ModelLoadError(f"Model {model}: the explainer {cls} cannot be loaded ({text[:300]}).")


def needing(model: str, cls: str, extra: str) -> ModelLoadError:
    """Return the error for an explainer that needs an extra of alibi."""
    return ModelLoadError(
        f"Model {model}: {cls} needs {_FRAMEWORKS[extra]}, which is not installed where the model runs "
        f"(pip install alibi[{extra}])."
    )


def fitted_model(model: str, path: Path, cls: str) -> Any:
    """Return a fitted model with the interface of scikit-learn, for explainers that look into it.

    Args:
        model: the explaining model, for messages.
        path: of joblib or pickle, which run its code, or a model of XGBoost (.json, .ubj, .bst).
        cls: the explainer's name, for messages.

    Raises:
        InvalidModelURI: there is no such file.
        ModelLoadError: it cannot be read.
    """
    if not path.is_file():
        raise InvalidModelURI(
            f"Model {model}: parameters.extra.infer_uri {path} is no file of a model, which {cls} looks into."
        )
    try:
        if path.suffix.lower() not in (".json", ".ubj", ".bst"):
            import joblib

            return joblib.load(path)
        import xgboost

        booster = xgboost.Booster(model_file=path)
        is_classifier = "binary:" in booster.save_config() or "multi:" in booster.save_config()
        found = xgboost.XGBClassifier() if is_classifier else xgboost.XGBRegressor()
        found.load_model(path)
        return found
    except ImportError as error:
        raise missing_module(model, path, error) from error
    except Exception as error:  # a damaged file fails in any way
        raise unreadable(model, path, "a fitted model", error, "save it again") from error
