"""Examples: requests that can be sent unchanged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlsrv.types import Datatype, MetadataTensor

_UNDECLARED = MetadataTensor("input", Datatype.FP32, [1, 1])
_MAX_ELEMENTS = 1000


def example_request(inputs: Sequence[MetadataTensor]) -> dict[str, Any]:
    """Return a request with zeros or short texts for the declared inputs.

    Dimensions of any length are 1. If no inputs are declared, the request has one tensor, FP32 of shape [1,
    1].
    """
    return {"id": "example", "inputs": [_example(tensor) for tensor in inputs or [_UNDECLARED]]}


def _example(tensor: MetadataTensor) -> dict[str, Any]:
    shape = [1 if length == -1 else length for length in tensor.shape]
    count = min(math.prod(shape), _MAX_ELEMENTS)
    choices = tensor.parameters.get("choices") if tensor.parameters is not None else None
    value: Any = 0
    if isinstance(choices, list) and choices:
        value = choices[0]
    elif tensor.datatype is Datatype.BYTES:
        value = "text"
    elif tensor.datatype is Datatype.BOOL:
        value = False
    elif tensor.datatype.is_float:
        value = 0.0
    return {"name": tensor.name, "shape": shape, "datatype": tensor.datatype.value, "data": [value] * count}
