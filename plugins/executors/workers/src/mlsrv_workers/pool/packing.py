"""Packing: calls to a worker as bytes; requests with very many values are packed in a thread."""

from __future__ import annotations

import asyncio
from typing import Any

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.plain_values import dump
from mlsrv_protocol.types import InferenceRequest
from mlsrv_protocol.workload import is_large
from mlsrv_workers.pool.replicated_models import ReplicatedModel


def pack_call(model: ReplicatedModel, values: tuple[Any, ...], context: CallContext) -> bytes:
    """Return a call as bytes. It is to be packed before a slot is reserved, for it may fail.

    Raises:
        InferenceError: parameters or arguments cannot be pickled.
    """
    try:
        return dump((model.id, *values, serialization.dump_context(context)))
    except Exception as error:
        raise InferenceError(
            f"Model {model.name}: the request cannot be sent to a worker process: {error}"
        ) from error


async def pack_request(
    model: ReplicatedModel, request: InferenceRequest, context: CallContext, buffers: serialization.Buffers
) -> bytes:
    """Return the call for a request as bytes; its large arrays are appended to `buffers`. Raises as
    `pack_call`."""
    if is_large(request):
        return await asyncio.to_thread(_pack_request, model, request, context, buffers)
    return _pack_request(model, request, context, buffers)


async def pack_input(request: InferenceRequest, buffers: serialization.Buffers) -> bytes:
    """Return one request of a stream as bytes; its large arrays are appended to `buffers`."""
    if is_large(request):
        return await asyncio.to_thread(_pack_input, request, buffers)
    return _pack_input(request, buffers)


def _pack_request(
    model: ReplicatedModel, request: InferenceRequest, context: CallContext, buffers: serialization.Buffers
) -> bytes:
    return pack_call(model, (serialization.dump_request(request, buffers),), context)


def _pack_input(request: InferenceRequest, buffers: serialization.Buffers) -> bytes:
    return dump(serialization.dump_request(request, buffers))
