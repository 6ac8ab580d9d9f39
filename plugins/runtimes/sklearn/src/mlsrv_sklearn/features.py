"""Features: the columns of an estimator that was fitted on a frame, as metadata of its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from mlsrv.types import Datatype, MetadataTensor


def columns_of(estimator: Any) -> list[MetadataTensor]:
    """Return an input ``[-1]`` for each column of the frame that an estimator was fitted on.

    Texts are BYTES, numbers FP64. Empty for an estimator that was fitted on an array, and where it cannot be
    told which columns are texts.
    """
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    first = _first(estimator)
    is_split = isinstance(first, ColumnTransformer)
    kinds = _kinds(first, names) if is_split else dict.fromkeys(names, _kind(first))
    found = [_tensor(name, kind) for name, kind in kinds.items() if kind is not None]
    return found if len(found) == len(names) else []


def _tensor(name: str, kind: Datatype) -> MetadataTensor:
    parameters = {"content_type": "str"} if kind is Datatype.BYTES else None
    return MetadataTensor(name, kind, [-1], parameters)


def _first(estimator: Any) -> Any:
    """Return the step that sees the columns."""
    while isinstance(estimator, Pipeline):
        estimator = next((step for _, step in estimator.steps if step not in (None, "passthrough")), None)
    return estimator


def _kinds(transformer: ColumnTransformer, names: list[str]) -> dict[str, Datatype | None]:
    kinds: dict[str, Datatype | None] = dict.fromkeys(names)
    for _, part, columns in transformer.transformers_:
        chosen = [columns] if isinstance(columns, str) else list(columns)
        # A column that is dropped may hold anything; one that is passed on goes to an estimator, as a number.
        kind = Datatype.FP64 if part == "passthrough" else None if part == "drop" else _kind(_first(part))
        for column in chosen:
            name = names[column] if isinstance(column, int | np.integer) else str(column)
            if kind is not None:
                kinds[name] = kind if kinds[name] in (None, kind) else Datatype.BYTES
    return kinds


def _kind(estimator: Any) -> Datatype | None:
    """Return the datatype of the columns that an estimator or transformer was fitted on, or None."""
    if hasattr(estimator, "vocabulary_"):
        return Datatype.BYTES
    for attribute in ("categories_", "statistics_"):
        found = getattr(estimator, attribute, None)
        if found is not None:
            arrays = found if isinstance(found, list) else [found]
            kinds = {np.asarray(array).dtype.kind for array in arrays}
            if kinds <= set("OUS"):
                return Datatype.BYTES
            return Datatype.FP64 if kinds <= set("biuf") else None
    if getattr(estimator, "is_categorical_", None) is not None:  # of gradient boosting, fitted on categories
        return None
    scales = any(hasattr(estimator, name) for name in ("scale_", "mean_", "quantiles_", "n_bins_"))
    return Datatype.FP64 if scales or hasattr(estimator, "predict") else None
