"""Threaded codec: decodes and encodes messages, large ones in a thread, so that other calls go on."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np

from mlsrv_protocol import InferenceRequest, InferenceResponse
from mlsrv_protocol.grpc import decode_request, encode_response

_THREAD_BYTES: Final = 2**20
_THREAD_ELEMENTS: Final = 2**16


async def decode(body: bytes) -> tuple[InferenceRequest, bool]:
    """Return the request of a message, and whether its contents are typed. Raises as `decode_request`."""
    if len(body) < _THREAD_BYTES:
        return decode_request(body)
    return await asyncio.to_thread(decode_request, body)


async def encode(
    response: InferenceResponse, typed: bool, *, stream: bool = False, final: bool | None = None
) -> bytes:
    """Return the message of a response. Raises as `encode_response`."""
    for output in response.outputs:
        data = output.data
        count = data.size if isinstance(data, np.ndarray) else len(data) if isinstance(data, list) else 0
        if count >= _THREAD_ELEMENTS:
            return await asyncio.to_thread(encode_response, response, typed=typed, stream=stream, final=final)
    return encode_response(response, typed=typed, stream=stream, final=final)
