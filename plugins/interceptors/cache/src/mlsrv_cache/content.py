"""Content: the cache key of a request, the size of a response, and independent copies of responses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsrv.context import CallContext
from mlsrv_protocol.pieces import PIECE, pieces_of
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput
from mlsrv_protocol.workload import is_large

SLOW_BYTES = 2**20
"""Bytes of numbers that take about a millisecond to read."""

_REQUEST_ONLY_KEYS = frozenset({"headers", "timeout", "priority"})
"""Request parameters that do not change the answer."""


PRINCIPAL = "principal"
"""In `vary`: answers depend on who asks, where an authorizer is installed; also a header of this name."""


def content_key(
    request: InferenceRequest, context: CallContext | None = None, vary: Sequence[str] = ()
) -> bytes:
    """Return a digest of everything that a model's answer may depend on.

    It covers inputs with their parameters, requested outputs, request parameters and the headers in `vary`,
    but not the id and other headers.

    Args:
        request: the request.
        context: of the request; its headers count as well as those of the request.
        vary: names of headers, in lower case.
    """
    digest = hashlib.blake2b(digest_size=20)
    plain: list[Any] = [_sorted_items(request.parameters, _REQUEST_ONLY_KEYS)]
    if vary:
        for headers in (
            None if request.parameters is None else request.parameters.headers,
            None if context is None else context.headers,
        ):
            plain.append([(headers or {}).get(name) for name in vary])
        if PRINCIPAL in vary and context is not None and context.principal is not None:
            plain.append(context.principal.name)
    for tensor in request.inputs:
        plain.append(
            (tensor.name, str(tensor.datatype), list(tensor.shape), _sorted_items(tensor.parameters))
        )
        data = tensor.data
        if isinstance(data, np.ndarray) and data.dtype.kind in "biufc":
            plain.append((data.dtype.str, data.nbytes))
            digest.update(np.ascontiguousarray(data).reshape(-1).view(np.uint8).data)
        elif isinstance(data, list) and len(data) > PIECE:
            plain.append(("list", len(data)))
            for piece in pieces_of(data):
                text = _text_of(piece)
                plain.append(len(text))
                digest.update(text)
        else:
            plain.append(data.tolist() if isinstance(data, np.ndarray) else data)
    if request.outputs is not None:
        plain.append([(output.name, _sorted_items(output.parameters)) for output in request.outputs])
    # Of the digest, not after the data: no request can move the bound between the two.
    return hashlib.blake2b(digest.digest() + _text_of(plain), digest_size=20).digest()


def _text_of(plain: list[Any]) -> bytes:
    return repr(plain).encode("utf-8", "surrogatepass")


def is_slow(message: InferenceRequest | InferenceResponse) -> bool:
    """Return whether a message has so much data that reading it would hold others up."""
    tensors = message.inputs if isinstance(message, InferenceRequest) else message.outputs
    bytes_of_arrays = sum(one.data.nbytes for one in tensors if isinstance(one.data, np.ndarray))
    return bytes_of_arrays >= SLOW_BYTES or is_large(message)


def _sorted_items(
    parameters: Parameters | None, without: frozenset[str] = frozenset()
) -> list[tuple[str, Any]]:
    if parameters is None:
        return []
    return sorted(
        ((key, value) for key, value in parameters.items() if key not in without), key=lambda item: item[0]
    )


def size_of(response: InferenceResponse) -> int:
    """Return the approximate size of a response's tensors in bytes."""
    total = 0
    for output in response.outputs:
        data = output.data
        if isinstance(data, np.ndarray) and data.dtype.kind != "O":
            total += data.nbytes
        else:
            total += sum(len(item) + 50 if isinstance(item, str | bytes) else 50 for item in data)
    return total + 200


def copy_of(response: InferenceResponse, *, copy_data: bool) -> InferenceResponse:
    """Return a copy of a response with its own parameters and without headers, which are for one client.

    With `copy_data` the tensors' data is copied, too, since it may be a view over memory that will be used
    again; else the data is shared and read-only.
    """
    return InferenceResponse(
        model_name=response.model_name,
        model_version=response.model_version,
        outputs=[
            ResponseOutput(
                name=output.name,
                shape=list(output.shape),
                datatype=output.datatype,
                data=_tensor_data(output.data, copy_data),
                parameters=_without_headers(output.parameters),
            )
            for output in response.outputs
        ],
        parameters=_without_headers(response.parameters),
    )


def _without_headers(parameters: Parameters | None) -> Parameters | None:
    if parameters is None or not (parameters.content_type is not None or parameters.extra):
        return None
    return Parameters(parameters.content_type, None, **parameters.extra)


def _tensor_data(data: Any, copy_data: bool) -> Any:
    if not isinstance(data, np.ndarray):
        return list(data)
    if copy_data:
        data = data.copy()
        data.flags.writeable = False
    return data
