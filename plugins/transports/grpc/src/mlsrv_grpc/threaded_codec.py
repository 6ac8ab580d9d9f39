"""Threaded codec: decodes and encodes messages, large ones in a thread, so that other calls go on."""

from __future__ import annotations

import asyncio
from typing import Final

from mlsrv_protocol import InferenceRequest, InferenceResponse
from mlsrv_protocol.bodies import SLOW_BYTES
from mlsrv_protocol.grpc import decode_request, encode_response
from mlsrv_protocol.workload import is_large

_THREAD_BYTES: Final = 2**20


async def decode(body: bytes) -> tuple[InferenceRequest, bool]:
    """Return the request of a message, and whether its contents are typed. Raises as `decode_request`."""
    # The elements of BYTES are decoded one by one.
    if len(body) < SLOW_BYTES or (len(body) < _THREAD_BYTES and b"BYTES" not in body):
        return decode_request(body)
    return await asyncio.to_thread(decode_request, body)


async def encode(
    response: InferenceResponse, typed: bool, *, stream: bool = False, final: bool | None = None
) -> bytes:
    """Return the message of a response. Raises as `encode_response`."""
    # Writing an array is copying, but of megabytes.
    if is_large(response, as_text=True):
        return await asyncio.to_thread(encode_response, response, typed=typed, stream=stream, final=final)
    return encode_response(response, typed=typed, stream=stream, final=final)
