"""What makes two requests equal, how large a response is, and copies that share nothing that anybody
changes."""

from __future__ import annotations

import hashlib
from copy import copy
from typing import Any

import numpy as np

from mlsrv_protocol.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput

_NOT_CONTENT = frozenset({"headers", "timeout", "priority"})


def content_key(request: InferenceRequest) -> bytes:
    """A digest of everything that a model's answer may depend on: inputs with their parameters, requested
    outputs and request parameters; not the id, not the headers."""
    digest = hashlib.blake2b(digest_size=20)
    plain: list[Any] = [_plain(request.parameters)]
    for tensor in request.inputs:
        plain.append((tensor.name, str(tensor.datatype), list(tensor.shape), _plain(tensor.parameters)))
        data = tensor.data
        if isinstance(data, np.ndarray) and data.dtype.kind in "biufc":
            plain.append((data.dtype.str, data.nbytes))
            digest.update(np.ascontiguousarray(data).reshape(-1).view(np.uint8).data)
        else:
            plain.append(data.tolist() if isinstance(data, np.ndarray) else data)
    if request.outputs is not None:
        plain.append([(output.name, _plain(output.parameters)) for output in request.outputs])
    digest.update(repr(plain).encode("utf-8", "surrogatepass"))
    return digest.digest()


def _plain(parameters: Parameters | None) -> list[tuple[str, Any]]:
    if parameters is None:
        return []
    return sorted(
        ((key, value) for key, value in parameters.items() if key not in _NOT_CONTENT), key=lambda i: i[0]
    )


def size_of(response: InferenceResponse) -> int:
    """Bytes of the response's tensors, roughly."""
    total = 0
    for output in response.outputs:
        data = output.data
        if isinstance(data, np.ndarray) and data.dtype.kind != "O":
            total += data.nbytes
        else:
            total += sum(len(item) + 50 if isinstance(item, str | bytes) else 50 for item in data)
    return total + 200


def copy_of(response: InferenceResponse, *, own_data: bool) -> InferenceResponse:
    """A copy with parameters of its own; with `own_data` also the tensors' data is copied (it may be a view
    over memory that somebody else uses again), else it is shared and not writable."""
    return InferenceResponse(
        model_name=response.model_name,
        model_version=response.model_version,
        outputs=[
            ResponseOutput(
                name=output.name,
                shape=list(output.shape),
                datatype=output.datatype,
                data=_data(output.data, own_data),
                parameters=copy(output.parameters),
            )
            for output in response.outputs
        ],
        parameters=copy(response.parameters),
    )


def _data(data: Any, own: bool) -> Any:
    if not isinstance(data, np.ndarray):
        return list(data)
    if own:
        data = data.copy()
        data.flags.writeable = False
    return data
