"""Requests: inference requests made in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.types import InferenceRequest, RequestInput


def text_request(
    model: str, texts: Sequence[str], *, name: str = "input", id: str | None = None
) -> InferenceRequest:
    """Return a request with one BYTES input of shape [len(texts)]."""
    tensor = RequestInput(name=name, shape=[len(texts)], datatype=Datatype.BYTES, data=list(texts))
    return InferenceRequest(inputs=[tensor], id=id, model_name=model)


def tensor_request(
    model: str, values: Any, *, name: str = "input", id: str | None = None
) -> InferenceRequest:
    """Return a request with one numeric input: the array's shape, datatype and flat data."""
    array = np.asarray(values)
    datatype = Datatype.from_numpy(array.dtype)
    tensor = RequestInput(name=name, shape=list(array.shape), datatype=datatype, data=array.reshape(-1))
    return InferenceRequest(inputs=[tensor], id=id, model_name=model)
