"""CatBoost artifacts: reads a model and its properties from a file."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import catboost
from attrs import frozen

from mlsrv.errors import ModelLoadError
from mlsrv.types import Datatype
from mlsrv_runtime_kit import Features, unreadable

_TREES = ("oblivious_trees", "trees")
_BINARY = b"CBM1"

_TRUTHS = {-1438285038, 1121341681}
"""CatBoost's hashes of the texts "0" and "1", which stand for the values of a boolean column."""

_READABLE = 2**26
"""Bytes of a model up to which the hashes of its categories are read, from its form in JSON."""


@frozen
class Artifact:
    """A model and its properties.

    Attributes:
        model: loaded.
        loss: the name of the function that it was trained with: "Logloss"; "" if the file does not say.
        classes: of a classifier, as they are sent; empty otherwise.
        texts: numbers of the features that are categories or texts.
        truths: numbers of the features whose categories are "0" and "1" alone, as far as the trees tell.
    """

    model: Any
    loss: str
    classes: tuple[Any, ...]
    texts: tuple[int, ...]
    truths: tuple[int, ...]

    def features(self) -> Features:
        """Return the features by number, and by name if they have names of their own."""
        names = tuple(map(str, self.model.feature_names_))
        datatypes = tuple(
            Datatype.BYTES if number in self.texts else Datatype.FP32 for number in range(len(names))
        )
        if names == tuple(map(str, range(len(names)))):
            names = ()
        return Features(len(datatypes), names, datatypes, takes_row=True)  # as its own methods do


def read(name: str, path: Path) -> Artifact:
    """Return the model in a file: JSON if the file is called ``.json``, else CatBoost's binary form.

    Raises:
        ModelLoadError: with what to do about it.
    """
    form = "json" if path.suffix.lower() == ".json" else "cbm"
    try:
        _check(path, form)
        model = catboost.CatBoost().load_model(str(path), format=form)
        found = _artifact_of(model, path, form)
    except (ValueError, catboost.CatBoostError) as error:
        raise unreadable(
            name,
            path,
            f"a model of CatBoost in the form {form}",
            error,
            f"save it again with save_model, or, if CatBoost newer than {catboost.__version__} saved it, "
            "install that one",
        ) from error
    if model.get_embedding_feature_indices():
        raise ModelLoadError(
            f"Model {name}: {path} has features that are embeddings, which cannot be served."
        )
    return found


def _check(path: Path, form: str) -> None:
    """Raise `ValueError` for a file that is no model, but that CatBoost would accept."""
    if form == "cbm":
        with path.open("rb") as file:
            if file.read(len(_BINARY)) != _BINARY:
                raise ValueError("it does not begin as such files do")
        return
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict) or "features_info" not in content:
        raise ValueError("it describes no features")
    if not any(isinstance(content.get(key), list | dict) for key in _TREES):
        raise ValueError("it has no trees")


def _artifact_of(model: Any, path: Path, form: str) -> Artifact:
    metadata = model.get_metadata()
    keys = set(metadata.keys())
    parameters = json.loads(metadata["params"]) if "params" in keys else {}
    loss = parameters.get("loss_function", {}).get("type", "")
    texts = {*model.get_cat_feature_indices(), *model.get_text_feature_indices()}
    classes = tuple(model.classes_) if "class_params" in keys else ()
    return Artifact(model, loss, classes, tuple(sorted(texts)), _truths(model, path, form))


def _truths(model: Any, path: Path, form: str) -> tuple[int, ...]:
    if not model.get_cat_feature_indices() or path.stat().st_size > _READABLE:
        return ()
    if model.get_text_feature_indices():  # CatBoost has no JSON for such models
        return ()
    with TemporaryDirectory() as folder:
        if form != "json":
            path = Path(folder, "model.json")
            model.save_model(str(path), format="json")
        features = json.loads(path.read_bytes())["features_info"]["categorical_features"]
    return tuple(
        feature["flat_feature_index"]
        for feature in features
        if feature.get("values") and _TRUTHS.issuperset(feature["values"])
    )
