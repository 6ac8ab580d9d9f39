"""Model inputs: converts a decoded request to the form that a model's signature describes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from mlflow.types import TensorSpec

from mlsrv.errors import InferenceError
from mlsrv_mlflow.schema import Interface


def fitted(values: Any, interface: Interface) -> Any:
    """Return the value of a request in the shapes and text types of the signature.

    A column of shape [n, 1] becomes the vector that a tensor of shape [-1] is; bytes that are texts become
    texts; a column of objects becomes a list of them, which is what a model with type hints takes.
    """
    if isinstance(values, np.ndarray) and len(interface.specs) == 1:
        [spec] = interface.specs.values()
        return _tensor(values, spec)
    if isinstance(values, Mapping):
        specs = interface.specs
        return {name: _tensor(value, specs.get(name)) for name, value in values.items()}
    if isinstance(values, pd.DataFrame) and interface.columns:
        return values.rename(columns=interface.columns)
    if isinstance(values, pd.DataFrame) and not interface.is_strict and _holds_objects(values):
        return values.iloc[:, 0].tolist()
    return values


def params(given: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the request parameters that are params of the model. A list or an object may be given as a JSON
    text, because gRPC has no other way to send it.

    Raises:
        InferenceError: such a text is no JSON.
    """
    found = {name: given[name] for name in known if given.get(name) is not None}
    for name, value in found.items():
        is_nested = known[name]["shape"] is not None or known[name]["type"] == "object"
        if is_nested and isinstance(value, str):
            try:
                found[name] = json.loads(value)
            except (ValueError, RecursionError):
                raise InferenceError(f"parameters.{name} is {value[:60]!r}, which is no JSON.") from None
    return found or None


def _tensor(value: Any, spec: TensorSpec | None) -> Any:
    if spec is None or not isinstance(value, np.ndarray):
        return value
    if len(spec.shape) == 1 and value.shape[1:] == (1,):
        value = value.reshape(-1)
    if value.dtype != object:
        return value
    texts = np.empty(value.size, object)
    texts[:] = [_text(element) for element in value.reshape(-1)]
    return texts.reshape(value.shape).astype(spec.type if spec.type.kind == "U" else object)


def _text(element: Any) -> Any:
    try:
        return element.decode() if isinstance(element, bytes) else element
    except UnicodeDecodeError:
        return element


def _holds_objects(frame: pd.DataFrame) -> bool:
    return len(frame.columns) == 1 and len(frame) > 0 and isinstance(frame.iloc[0, 0], dict)
