"""Encoded requests: requests that the server sends as their JSON, decoded and answered in JSON here."""

from __future__ import annotations

import asyncio
from typing import Any

from mlsrv.context import CallContext
from mlsrv.dataplane.input_checks import declared_tensors
from mlsrv.dataplane.statistics import rows_of
from mlsrv.hosting.model_host import ModelHost
from mlsrv.settings import ModelSettings
from mlsrv_executor_kit import serialization
from mlsrv_executor_kit.plain_data import dump_plain
from mlsrv_protocol import bodies
from mlsrv_protocol.binary import NONE
from mlsrv_protocol.errors import MLSrvError
from mlsrv_protocol.json import decode_request
from mlsrv_protocol.types import Parameters
from mlsrv_protocol.workload import is_large, size_in_turns, size_of

_NOT_VALID = dump_plain((None, None))


class EncodedRequests:
    """Answers encoded requests to one model.

    Args:
        settings: of the model.
        host: has loaded it.
    """

    def __init__(self, settings: ModelSettings, host: ModelHost) -> None:
        self._host = host
        self._checks = declared_tensors(settings, host.info)

    async def answer(
        self,
        body: bytes,
        name: str,
        version: str | None,
        context: CallContext,
        buffers: serialization.Buffers,
    ) -> bytes:
        """Return the payload for `mlsrv_workers.pool.answers.encoded_of`; large arrays are appended to
        `buffers`.

        Args:
            body: JSON of a request; what is not valid is left to the server, for the error.
            name, version: of the address.
            context: of the request.

        Raises:
            MLSrvError: as the model, and as `DeclaredTensors.check`.
        """
        try:
            request = decode_request(body)
        except MLSrvError:
            return _NOT_VALID
        request.id = context.request_id
        request.model_name, request.model_version = name, version
        headers: Any = context.headers  # a dict, which has come with the call
        request.parameters = Parameters.construct(None, headers, {})
        # Before the model, which may change its inputs.
        is_observed = context.timeline is not None
        rows, received = rows_of(request), await _size_of(request.inputs) if is_observed else 0
        if self._checks is not None:
            self._checks.check(request)
        response = await self._host.infer(request, context)
        counts = rows, received, await _size_of(response.outputs) if is_observed else 0
        spans = serialization.dump_timeline(context)
        if not is_large(response, as_text=True):
            try:
                encoded = bodies.encode_response(response, NONE)[0]
            except MLSrvError:
                pass  # the server has the error, too
            else:
                return dump_plain(((encoded, bodies.headers_of(response)), spans, counts))
        elif is_large(response):
            return await asyncio.to_thread(serialization.dump_response, response, buffers, spans, counts)
        return serialization.dump_response(response, buffers, spans, counts)


async def _size_of(tensors: list[Any]) -> int:
    """Return the bytes of the data of tensors."""
    size = size_of(tensors)
    return await size_in_turns(tensors) if size is None else size
