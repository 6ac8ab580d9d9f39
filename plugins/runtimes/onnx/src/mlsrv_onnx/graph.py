"""Graph metadata: the inputs and outputs of a graph as tensors of the protocol."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mlsrv.errors import ModelLoadError
from mlsrv.types import Datatype, MetadataTensor, Parameters

DATATYPES = {
    "bool": Datatype.BOOL,
    "uint8": Datatype.UINT8,
    "uint16": Datatype.UINT16,
    "uint32": Datatype.UINT32,
    "uint64": Datatype.UINT64,
    "int8": Datatype.INT8,
    "int16": Datatype.INT16,
    "int32": Datatype.INT32,
    "int64": Datatype.INT64,
    "float16": Datatype.FP16,
    "float": Datatype.FP32,
    "double": Datatype.FP64,
    "bfloat16": Datatype.BF16,
    "string": Datatype.BYTES,
}
"""ONNX Runtime's names of element types."""

_TENSOR = re.compile(r"tensor\((\w+)\)")
_SCORES = re.compile(r"seq\(map\(\w+,tensor\((\w+)\)\)\)")
"""What converted classifiers may give: for each row the score of each class."""


def optional_tensors(nodes: Sequence[Any]) -> list[MetadataTensor]:
    """Return the initializers of a graph that a request may override, with the parameter ``optional``; those
    of types that no datatype holds are left out."""
    found = []
    for node in nodes:
        kind = _TENSOR.fullmatch(node.type)
        if kind is not None and kind[1] in DATATYPES:
            tensor = _tensor("", "input", node)
            tensor.parameters = Parameters(optional=True)
            found.append(tensor)
    return found


def symbols(nodes: Sequence[Any]) -> dict[str, list[str | None]]:
    """Return the names of the open sizes of each input; None for a size that has no name.

    Sizes of one name are equal. Names without a letter, which some exporters give to every open size, and
    "None" are none.
    """
    return {
        node.name: [
            size if isinstance(size, str) and size != "None" and any(map(str.isalpha, size)) else None
            for size in node.shape
        ]
        for node in nodes
    }


def tensors(model: str, kind: str, nodes: Sequence[Any]) -> list[MetadataTensor]:
    """Return the inputs or outputs of a graph; -1 stands for a size that the graph leaves open, such as the
    batch size.

    Raises:
        ModelLoadError: one is no tensor.
    """
    return [_tensor(model, kind, node) for node in nodes]


def _tensor(model: str, kind: str, node: Any) -> MetadataTensor:
    found = _TENSOR.fullmatch(node.type)
    scores = _SCORES.fullmatch(node.type) if kind == "output" else None
    element = found or scores
    if element is None or element[1] not in DATATYPES:
        raise ModelLoadError(
            f'Model {model}: the {kind} "{node.name}" is a {node.type}, which no datatype holds; export the '
            f"model with tensors of {', '.join(DATATYPES)}."
        )
    shape = (
        [-1, -1] if scores else [size if isinstance(size, int) and size >= 0 else -1 for size in node.shape]
    )
    return MetadataTensor(node.name, DATATYPES[element[1]], shape)
