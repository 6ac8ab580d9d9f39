"""Signatures and input examples as metadata."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from mlflow_models import EVERYTHING, TENSORS

from mlsrv_mlflow.schema import Interface


def shown(tensors: Any) -> list[tuple[Any, ...]]:
    return [
        (tensor.name, str(tensor.datatype), tensor.shape, tensor.parameters.content_type)
        for tensor in tensors
    ]


def test_columns_of_every_type() -> None:
    found = Interface.of(EVERYTHING)
    assert shown(found.inputs) == [
        ("flag", "BOOL", [-1, 1], "np"),
        ("small", "INT32", [-1, 1], "np"),
        ("large", "INT64", [-1, 1], "np"),
        ("single", "FP32", [-1, 1], "np"),
        ("double", "FP64", [-1, 1], "np"),
        ("text", "BYTES", [-1, 1], "str"),
        ("blob", "BYTES", [-1, 1], "base64"),
        ("when", "BYTES", [-1, 1], "datetime"),
        ("list", "BYTES", [-1, 1], "pd_json"),
        ("map", "BYTES", [-1, 1], "pd_json"),
        ("object", "BYTES", [-1, 1], "pd_json"),
        ("any", "BYTES", [-1, 1], "pd_json"),
        ("note", "BYTES", [-1, 1], "str"),
    ]
    assert [tensor.name for tensor in found.inputs if tensor.parameters.get("optional")] == ["note"]
    assert (found.content_type, found.is_strict) == ("pd", True)
    assert found.params["scale"] == {"name": "scale", "type": "double", "default": 1.0, "shape": None}
    assert found.params["names"] == {"name": "names", "type": "string", "default": ["a"], "shape": [-1]}


def test_tensors_with_names_and_without() -> None:
    found = Interface.of(TENSORS)
    assert shown(found.inputs) == [("image", "FP32", [-1, 2, 2], "np"), ("words", "BYTES", [-1], "np")]
    assert shown(found.outputs) == [("total", "FP32", [-1, 1], "np"), ("length", "INT64", [-1, 1], "np")]
    assert (found.content_type, found.is_strict) == ("dict", True)
    spec = TensorSpec(np.dtype("float64"), (-1, 4))
    found = Interface.of(ModelSignature(Schema([spec]), Schema([spec])))
    assert shown(found.inputs) == [("input-1", "FP64", [-1, 4], "np")]
    assert shown(found.outputs) == [("output-1", "FP64", [-1, 4], "np")]
    assert (found.content_type, found.is_strict) == ("np", False)


def test_a_signature_need_not_have_outputs_or_names() -> None:
    found = Interface.of(ModelSignature(Schema([ColSpec("long", 0), ColSpec("long", 1)])))
    assert (shown(found.outputs), [tensor.name for tensor in found.inputs]) == ([], ["0", "1"])
    assert found.columns == {"0": 0, "1": 1}
    found = Interface.of(
        ModelSignature(Schema([ColSpec("string")]), Schema([ColSpec("string"), ColSpec("long")]))
    )
    assert shown(found.inputs) == [("input-1", "BYTES", [-1, 1], "str")]
    assert [tensor.name for tensor in found.outputs] == ["output-1", "output-2"]
    assert Interface.of(ModelSignature(outputs=Schema([ColSpec("long")]))).content_type is None


def test_input_examples() -> None:
    frame = pd.DataFrame(
        {"n": [1], "x": [1.5], "t": ["a"], "o": [[1, 2]], "when": pd.to_datetime(["2026-01-01"])}
    )
    assert shown(Interface.of(None, frame).inputs) == [
        ("n", "INT64", [-1, 1], "np"),
        ("x", "FP64", [-1, 1], "np"),
        ("t", "BYTES", [-1, 1], "str"),
        ("o", "BYTES", [-1, 1], "pd_json"),
        ("when", "BYTES", [-1, 1], "datetime"),
    ]
    assert shown(Interface.like(np.zeros((2, 3), np.float32)).inputs) == [("input-1", "FP32", [-1, 3], "np")]
    found = Interface.like({"a": np.zeros((1, 2)), "b": np.array(["x"])})
    assert shown(found.inputs) == [("a", "FP64", [-1, 2], "np"), ("b", "BYTES", [-1], "np")]
    assert (found.content_type, found.is_strict) == ("dict", False)
    assert Interface.like("some text") == Interface.of(None) == Interface()
