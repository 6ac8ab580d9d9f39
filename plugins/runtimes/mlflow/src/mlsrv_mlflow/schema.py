"""Model signatures: an MLflow signature as metadata of the protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from attrs import field, frozen
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, Schema, TensorSpec

from mlsrv.errors import InvalidPayload
from mlsrv.types import Datatype, MetadataTensor, Parameters
from mlsrv_protocol.plain_arrays import as_text

COLUMNS = {
    DataType.boolean: (Datatype.BOOL, "np"),
    DataType.integer: (Datatype.INT32, "np"),
    DataType.long: (Datatype.INT64, "np"),
    DataType.float: (Datatype.FP32, "np"),
    DataType.double: (Datatype.FP64, "np"),
    DataType.string: (Datatype.BYTES, "str"),
    DataType.binary: (Datatype.BYTES, "base64"),
    DataType.datetime: (Datatype.BYTES, "datetime"),
}
"""Datatype and content type of a column of one of MLflow's scalar types."""

CELLS = {
    DataType.binary: {"pd_cells": "base64", "pd_missing": "None"},
    DataType.datetime: {"pd_cells": "datetime", "pd_missing": "None"},
    DataType.boolean: {"pd_missing": "None"},
}
"""Parameters that a column with gaps needs, whose rows are JSON texts, to be of its type for MLflow."""

NESTED = (Datatype.BYTES, "pd_json")
"""Datatype and content type of a column of arrays, maps, objects or any values."""


@frozen
class Interface:
    """The inputs and outputs of a model.

    Attributes:
        inputs, outputs: metadata; empty where nothing is known.
        specs: by name, the signature's own description of inputs that are tensors.
        cells: by name, the parameters that a column needs where it comes as JSON texts, see `CELLS`.
        columns: by name, the columns whose name is no text for MLflow, but a number.
        content_type: how a request is decoded that does not say it: "pd", "dict" or "np"; None if nothing is
            known.
        is_strict: whether inputs must have the names that they have here.
        params: what `predict` takes beside the inputs, by name: type, shape and default.
    """

    inputs: tuple[MetadataTensor, ...] = ()
    outputs: tuple[MetadataTensor, ...] = ()
    specs: dict[str, TensorSpec] = field(factory=dict)
    cells: dict[str, dict[str, str]] = field(factory=dict)
    columns: dict[str, Any] = field(factory=dict)
    content_type: str | None = None
    is_strict: bool = False
    params: dict[str, dict[str, Any]] = field(factory=dict)

    @classmethod
    def of(cls, signature: ModelSignature | None, example: Any = None) -> Interface:
        """Return the interface that a signature describes; without a signature, the one of the input
        example."""
        if signature is None:
            return cls.like(example)
        inputs = dict(_named_specs("input", signature.inputs))
        outputs = dict(_named_specs("output", signature.outputs))
        is_named = bool(inputs) and signature.inputs.has_input_names()
        specs = {name: spec for name, spec in inputs.items() if isinstance(spec, TensorSpec)}
        return cls(
            inputs=tuple(_metadata(name, spec) for name, spec in inputs.items()),
            outputs=tuple(_output(name, spec) for name, spec in outputs.items()),
            specs=specs,
            cells={name: found for name, spec in inputs.items() if (found := _cells(spec))},
            columns={name: spec.name for name, spec in inputs.items() if is_named and spec.name != name},
            content_type=("dict" if is_named else "np") if specs else "pd" if inputs else None,
            is_strict=is_named,
            params=_params(signature.params),
        )

    @classmethod
    def like(cls, example: Any) -> Interface:
        """Return the interface of a model of which only an input example is known."""
        if isinstance(example, pd.DataFrame):
            columns = [_column(as_text(name), column) for name, column in example.items()]
            return cls(inputs=tuple(columns), content_type="pd")
        if isinstance(example, np.ndarray):
            return cls(inputs=(_tensor("input-1", example),), content_type="np")
        if isinstance(example, dict) and all(isinstance(value, np.ndarray) for value in example.values()):
            tensors = [_tensor(as_text(name), array) for name, array in example.items()]
            return cls(inputs=tuple(tensors), content_type="dict")
        return cls()


def _named_specs(prefix: str, schema: Schema | None) -> Iterator[tuple[str, ColSpec | TensorSpec]]:
    for number, spec in enumerate(schema.inputs if schema is not None else (), 1):
        yield f"{prefix}-{number}" if spec.name is None else str(spec.name), spec


def _metadata(name: str, spec: ColSpec | TensorSpec) -> MetadataTensor:
    if isinstance(spec, TensorSpec):
        shape = [int(length) for length in spec.shape]
        return MetadataTensor(name, _datatype(spec.type), shape, Parameters(content_type="np"))
    datatype, content_type = COLUMNS[spec.type] if isinstance(spec.type, DataType) else NESTED
    parameters = Parameters(content_type=content_type)
    if not spec.required:
        parameters.extra["optional"] = True
    return MetadataTensor(name, datatype, [-1, 1], parameters)


def _cells(spec: ColSpec | TensorSpec) -> dict[str, str] | None:
    if isinstance(spec, TensorSpec):
        return None
    return CELLS.get(spec.type) if isinstance(spec.type, DataType) else {"pd_missing": "None"}


def _output(name: str, spec: ColSpec | TensorSpec) -> MetadataTensor:
    found = _metadata(name, spec)
    if len(found.shape) == 1:  # a vector is sent as a column
        found.shape = [*found.shape, 1]
    return found


def _column(name: str, column: Any) -> MetadataTensor:
    datatype, content_type = _datatype(column.dtype), "np"
    if column.dtype.kind == "M":
        content_type = "datetime"
    elif datatype is Datatype.BYTES:
        content_type = "str" if all(isinstance(value, str) for value in column) else "pd_json"
    return MetadataTensor(name, datatype, [-1, 1], Parameters(content_type=content_type))


def _tensor(name: str, array: np.ndarray[Any, Any]) -> MetadataTensor:
    shape = [-1, *array.shape[1:]]
    return MetadataTensor(name, _datatype(array.dtype), shape, Parameters(content_type="np"))


def _datatype(dtype: Any) -> Datatype:
    try:
        return Datatype.from_numpy(np.dtype(dtype))
    except (InvalidPayload, TypeError):  # texts, objects and types that only pandas has
        return Datatype.BYTES


def _params(schema: ParamSchema | None) -> dict[str, dict[str, Any]]:
    return {param["name"]: param for param in json.loads(schema.to_json())} if schema is not None else {}
