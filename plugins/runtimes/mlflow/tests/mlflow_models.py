"""Models of MLflow, saved here by MLflow itself."""

from __future__ import annotations

import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType, Array, DataType, Map, Object, Property
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

CODE = Path(__file__).parent / "models"
FLOWERS = load_iris(as_frame=True).data
SPECIES = load_iris().target

EVERYTHING = ModelSignature(
    inputs=Schema(
        [
            ColSpec("boolean", "flag"),
            ColSpec("integer", "small"),
            ColSpec("long", "large"),
            ColSpec("float", "single"),
            ColSpec("double", "double"),
            ColSpec("string", "text"),
            ColSpec("binary", "blob"),
            ColSpec("datetime", "when"),
            ColSpec(Array(DataType.long), "list"),
            ColSpec(Map(DataType.string), "map"),
            ColSpec(Object([Property("a", DataType.long)]), "object"),
            ColSpec(AnyType(), "any"),
            ColSpec("string", "note", required=False),
        ]
    ),
    outputs=Schema([ColSpec("string", "row"), ColSpec("string", "kinds"), ColSpec(Map(AnyType()), "params")]),
    params=ParamSchema(
        [
            ParamSpec("scale", "double", 1.0),
            ParamSpec("count", "long", 3),
            ParamSpec("names", "string", ["a"], shape=(-1,)),
        ]
    ),
)
TENSORS = ModelSignature(
    inputs=Schema(
        [TensorSpec(np.dtype("float32"), (-1, 2, 2), "image"), TensorSpec(np.dtype("str"), (-1,), "words")]
    ),
    outputs=Schema(
        [TensorSpec(np.dtype("float32"), (-1,), "total"), TensorSpec(np.dtype("int64"), (-1,), "length")]
    ),
)


def save_all(root: Path) -> dict[str, Path]:
    """Save every model below a folder. Returns the folder of each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow hints at many things
        return dict(_save(root))


def save_quietly(flavour: Any, model: Any, folder: Path, **options: Any) -> Path:
    """``FLAVOUR.save_model`` without what MLflow warns of. Returns the folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flavour.save_model(*(() if model is None else (model,)), path=folder, **options)
    return folder


def wait_until_alive(url: str, server: subprocess.Popen[Any], seconds: float = 240) -> None:
    """Wait until a server of MLflow answers, which takes it long."""
    deadline = time.monotonic() + seconds
    while True:
        assert server.poll() is None, "MLflow's server ended"
        assert time.monotonic() < deadline, f"{url} does not answer"
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)


def _save(root: Path) -> Iterator[tuple[str, Path]]:
    named = LogisticRegression(max_iter=500).fit(FLOWERS, SPECIES)
    plain = LogisticRegression(max_iter=500).fit(FLOWERS.to_numpy(), SPECIES)
    species = FLOWERS.assign(species=named.predict(FLOWERS))[["species"]]
    estimators: dict[str, Any] = {
        "columns": (named, {"signature": infer_signature(FLOWERS, species)}),
        "matrix": (
            plain,
            {"signature": infer_signature(FLOWERS.to_numpy(), plain.predict(FLOWERS.to_numpy()))},
        ),
        "bare": (plain, {}),
        "example": (named, {"signature": False, "input_example": FLOWERS[:2]}),
    }
    for name, (estimator, options) in estimators.items():
        # The other format, skops, takes seconds to import in each process.
        options |= {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
        yield name, save_quietly(mlflow.sklearn, estimator, root / name, **options)
    for name, signature in {"everything": EVERYTHING, "tensors": TENSORS, "hinted": None}.items():
        options = {"python_model": str(CODE / f"{name}.py"), "pip_requirements": [], "signature": signature}
        yield name, save_quietly(mlflow.pyfunc, None, root / name, **options)
