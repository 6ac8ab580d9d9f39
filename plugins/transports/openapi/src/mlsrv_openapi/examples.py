"""Requests that a reader can send as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlsrv.types import Datatype, MetadataTensor

_ANY = MetadataTensor("input", Datatype.FP32, [1, 1])
_LONGEST = 1000


def example_request(inputs: Sequence[MetadataTensor]) -> dict[str, Any]:
    """A request of zeros or short texts for declared inputs (of one row where the number is free), or for
    any input where none are declared."""
    return {"id": "example", "inputs": [_example(tensor) for tensor in inputs or [_ANY]]}


def _example(tensor: MetadataTensor) -> dict[str, Any]:
    shape = [1 if length == -1 else length for length in tensor.shape]
    count = min(math.prod(shape), _LONGEST)
    value: Any = 0
    if tensor.datatype is Datatype.BYTES:
        value = "text"
    elif tensor.datatype is Datatype.BOOL:
        value = False
    elif tensor.datatype.is_float:
        value = 0.0
    return {"name": tensor.name, "shape": shape, "datatype": tensor.datatype.value, "data": [value] * count}
