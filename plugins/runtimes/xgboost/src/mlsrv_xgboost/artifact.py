"""XGBoost artifacts: reads a booster and its properties from a file."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import xgboost
from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.types import Datatype
from mlsrv_runtime_kit import Features, unreadable

logger = logging.getLogger("mlsrv.xgboost")

TYPES = {"float": Datatype.FP32, "q": Datatype.FP32, "int": Datatype.INT64, "i": Datatype.BOOL}
"""XGBoost's types of features. A categorical one (``c``) has the type of its categories, mostly texts."""

CATEGORICAL = "c"

_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)|version\[#L.{8}[iU](.)', re.DOTALL)
_TAIL = 256
"""Bytes at the end of a file that hold the version of the XGBoost that saved it."""


@frozen
class Artifact:
    """A booster and its properties.

    Attributes:
        booster: loaded, with its number of threads set.
        estimator: "classifier", "regressor" or "ranker" where the scikit-learn interface saved it, else "".
        objective: the name of the objective: "binary:logistic".
        kind: of the booster: "gbtree", "gblinear", "dart".
        classes: how many, 0 if it does not classify.
        targets: how many columns a prediction has beside those of the classes.
        categorical: numbers, from 0, of the features that are categorical.
        knows_categories: whether it remembers the categories, so that it can read them as texts.
    """

    booster: Any
    estimator: str
    objective: str
    kind: str
    classes: int
    targets: int
    categorical: tuple[int, ...]
    knows_categories: bool

    def features(self) -> Features:
        """Return the features by number, with the names and types that the file contains."""
        names = tuple(self.booster.feature_names or ())
        types = self.booster.feature_types or ()
        return Features(
            self.booster.num_features(), names, tuple(TYPES.get(kind, Datatype.BYTES) for kind in types)
        )


def read(name: str, path: Path, threads: int) -> Artifact:
    """Return the booster in a file.

    Args:
        name: of the model, for messages.
        path: the file; ``.json`` is JSON, everything else UBJSON.
        threads: that a prediction may use.

    Raises:
        ModelLoadError: with what to do about it.
    """
    content = path.read_bytes()
    major = saved_by(content)
    is_newer = (major or 0) > int(xgboost.__version__.partition(".")[0])
    try:
        if major is None:
            # XGBoost itself may end the whole process over a file that is cut off.
            raise ValueError("it does not begin and end as JSON or UBJSON of XGBoost does")
        booster = _load(content)
    except (ValueError, xgboost.core.XGBoostError) as error:
        if is_newer:
            raise ModelLoadError(
                f"Model {name}: {path} was saved by XGBoost {major}, but {xgboost.__version__} is installed; "
                "install a newer one."
            ) from error
        raise unreadable(
            name,
            path,
            "a model of XGBoost",
            error_text(error),
            "save it again with save_model, as .json or .ubj (the old binary form is gone since XGBoost 3.1)",
        ) from error
    if is_newer:
        logger.warning(
            "Model %s: %s was saved by XGBoost %d, newer than %s, which is installed; "
            "it may compute something else",
            name,
            path,
            major,
            xgboost.__version__,
        )
    booster.set_param({"nthread": threads})
    return _artifact_of(booster)


def saved_by(content: bytes) -> int | None:
    """Return the major version of the XGBoost that saved a model, or None if the file is no model or
    truncated: the version is stored at its end."""
    if not content.startswith(b"{") or not content.rstrip().endswith(b"}"):
        return None
    found = _VERSION.search(content, max(0, len(content) - _TAIL))
    if found is None:
        return None
    return int(found[1]) if found[1] else found[2][0]


def error_text(error: Exception) -> str:
    """Return an error text of XGBoost without source locations and memory addresses."""
    text = str(error).partition("Stack trace:")[0]
    return re.sub(
        r"^\[[\d:]+\] (?:\S+?:\d+: )?|Check failed: [^:]*?(?:\([^)]*\) ?)?: |`[^`]*/", "", text
    ).strip()


def _load(content: bytes) -> Any:
    # From memory, as XGBoost warns of endings that it does not know.
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    return booster


def _artifact_of(booster: Any) -> Artifact:
    learner = json.loads(booster.save_config())["learner"]
    shape = learner["learner_model_param"]
    classes = int(shape["num_class"])
    objective = learner["objective"]["name"]
    saved = json.loads(booster.attr("scikit_learn") or "{}")
    estimator = saved.get("_estimator_type") or ""
    if estimator == "classifier" or objective == "binary:logistic":
        classes = max(classes, 2)
    types = booster.feature_types or ()
    categorical = tuple(number for number, kind in enumerate(types) if kind == CATEGORICAL)
    return Artifact(
        booster=booster,
        estimator=estimator,
        objective=objective,
        kind=learner["gradient_booster"]["name"],
        classes=classes,
        targets=int(shape["num_target"]),
        categorical=categorical,
        # Linear boosters raise an error when asked.
        knows_categories=bool(categorical) and not booster.get_categories().empty(),
    )
