"""XGBoost artifacts: reads a booster and its properties from a file."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import xgboost
from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.types import Datatype
from mlsrv_runtime_kit import Categories, Features, unreadable

logger = logging.getLogger("mlsrv.xgboost")

TYPES = {
    "float": Datatype.FP32,
    "q": Datatype.FP32,
    "int": Datatype.INT64,
    "i": Datatype.BOOL,
    "c": Datatype.INT64,
}
"""XGBoost's types of features. A categorical one (``c``) takes codes if the file has no categories."""

CATEGORICAL = "c"

_CATEGORIES = '"cats":'
"""Key of the categories in a model's JSON; in a text of it the quotes would be escaped."""

_EXACT_TEXTS = (3, 4)
"""First version of XGBoost that saves categories that are not ASCII completely."""

_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)|version\[#L.{8}[iU](.)[iU](.)', re.DOTALL)
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
        categories: of the features that are categorical, by number; empty if the file does not have them.
    """

    booster: Any
    estimator: str
    objective: str
    kind: str
    classes: int
    targets: int
    categorical: tuple[int, ...]
    categories: Mapping[int, Categories]

    def features(self) -> Features:
        """Return the features by number, with the names and types that the file contains."""
        names = tuple(self.booster.feature_names or ())
        types = self.booster.feature_types or ()
        datatypes = tuple(TYPES.get(kind, Datatype.FP32) for kind in types)
        return Features(self.booster.num_features(), names, datatypes, categories=self.categories)


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
    version = saved_by(content)
    major = version[0] if version is not None else 0
    is_newer = major > int(xgboost.__version__.partition(".")[0])
    try:
        if version is None:
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
    return _artifact_of(name, booster, version)


def saved_by(content: bytes) -> tuple[int, int] | None:
    """Return the version of the XGBoost that saved a model, major and minor.

    It is stored at the end of the file; None means that the file is no model, or truncated.
    """
    if not content.startswith(b"{") or not content.rstrip().endswith(b"}"):
        return None
    found = _VERSION.search(content, max(0, len(content) - _TAIL))
    if found is None:
        return None
    if found[1]:
        return int(found[1]), int(found[2])
    return found[3][0], found[4][0]


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


def _artifact_of(name: str, booster: Any, version: tuple[int, int]) -> Artifact:
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
        categories=_categories(name, booster, version)
        if categorical and not booster.get_categories().empty()
        else {},
    )


def _categories(name: str, booster: Any, version: tuple[int, int]) -> dict[int, Categories]:
    """Return the categories of a booster by the number of the feature.

    XGBoost hands them out with pyarrow only, which it does not need otherwise; the JSON of a model has them,
    too, as 64-bit integers or as UTF-8 in signed bytes.
    """
    text = bytes(booster.save_raw("json")).decode()
    found, _ = json.JSONDecoder().raw_decode(text, text.index(_CATEGORIES) + len(_CATEGORIES))
    categories: dict[int, Categories] = {}
    for number, encoded in enumerate(found["enc"]):
        values = encoded["values"]
        if "offsets" in encoded:
            values = _texts(bytes(value % 256 for value in values), encoded["offsets"], version)
            if None in values:
                logger.warning(
                    "Model %s: XGBoost %d.%d did not save all categories of feature %d, not being ASCII; "
                    "requests with those that are missing are refused",
                    name,
                    *version,
                    number,
                )
        if values:
            categories[number] = Categories.of(values)
    return categories


def _texts(content: bytes, ends: Sequence[int], version: tuple[int, int]) -> list[str | None]:
    """Return the texts of categories, None for those that the file does not hold completely.

    Before 3.4 XGBoost counted letters, but took as many bytes: texts that are not ASCII lack their end.
    """
    if content.isascii() or version >= _EXACT_TEXTS:
        return [content[start:end].decode() for start, end in pairwise(ends)]
    letters = content.decode(errors="ignore")
    return [letters[start:end] if end <= len(letters) else None for start, end in pairwise(ends)]
