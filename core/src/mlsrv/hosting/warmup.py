"""Warm-up: requests that a model answers before it becomes ready, so that no client waits for lazy parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mlsrv.errors import ModelLoadError
from mlsrv.placement import ModelInfo
from mlsrv.settings import KernelModelSettings, ModelSettings
from mlsrv_protocol import json
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.types import InferenceRequest, MetadataTensor, RequestInput
from mlsrv_settings_kit.known_plugins import known_sample

Sample: TypeAlias = Callable[[str], str]
"""Returns a text that the codec of a content type decodes."""


async def warm_up_requests(
    settings: ModelSettings, info: ModelInfo, sample: Sample = known_sample
) -> list[InferenceRequest]:
    """The requests that the setting ``warm_up`` of a model means.

    Args:
        settings: of the model, resolved.
        info: what the model says of itself after it was loaded; `True` makes a sample of its inputs.

    Raises:
        ModelLoadError: a file cannot be read, a request breaks the protocol, or there are no declared inputs.
    """
    wanted = settings.of(KernelModelSettings).warm_up
    if wanted is False:
        return []
    if wanted is True:
        requests = [sample_request(settings.name, info, sample)]
    else:
        requests = [
            await _request(settings, item) for item in (wanted if isinstance(wanted, list) else [wanted])
        ]
    for request in requests:
        request.model_name, request.model_version = settings.name, settings.version
    return requests


async def _request(settings: ModelSettings, wanted: Any) -> InferenceRequest:
    try:
        if not isinstance(wanted, str):
            return InferenceRequest.parse_obj(wanted)
        path = (settings.folder or Path()) / wanted
        return json.decode_request(await asyncio.to_thread(path.read_bytes))
    except OSError as error:
        raise ModelLoadError(f"Model {settings.name}: warm_up cannot be read: {error}") from error
    except InvalidPayload as error:
        raise ModelLoadError(f"Model {settings.name}: warm_up is no inference request: {error}") from error


def sample_request(name: str, info: ModelInfo, sample: Sample = known_sample) -> InferenceRequest:
    """A request with zeros, or empty texts, for each input that a model declares.

    Raises:
        ModelLoadError: it declares none.
    """
    if not info.inputs:
        raise ModelLoadError(
            f"Model {name}: warm_up is true, but the model declares no inputs to make a sample of; "
            'list them as "inputs", or give a request.'
        )
    return InferenceRequest([_sample_of(tensor, sample) for tensor in info.inputs])


def _sample_of(tensor: MetadataTensor, sample: Sample) -> RequestInput:
    """Zeros, or empty texts; dimensions of any length are 1."""
    shape = [1 if length < 0 else length for length in tensor.shape]
    count = int(np.prod(shape))
    data: Any
    if tensor.datatype.dtype is not None:
        data = np.zeros(count, tensor.datatype.dtype)
    else:
        content_type = tensor.parameters.content_type if tensor.parameters is not None else None
        data = [sample(content_type or "")] * count
    return RequestInput(tensor.name, shape, tensor.datatype, data)
