"""Connecting: talks to a transport of which only the endpoint is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlsrv_protocol.errors import MLSrvError
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_testing.contracts import TransportClient, TransportFailure

if TYPE_CHECKING:
    from mlsrv_protocol.client import AsyncClient

_SCHEMES = ("http", "https", "grpc", "grpcs")


def connect(endpoint: str) -> TransportClient:
    """A client of a transport that speaks REST or gRPC; skips the case for any other."""
    if endpoint.partition("://")[0] not in _SCHEMES:
        pytest.skip(f"only a suite of the author has a client for its endpoint ({endpoint})")
    pytest.importorskip("httpx", reason="the client needs httpx (pip install httpx)")

    from mlsrv_protocol.client import AsyncClient

    return _Client(AsyncClient(endpoint, retries=0))


class _Client(TransportClient):
    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        try:
            return (await self._client.infer(request.model_name or "", request)).response
        except MLSrvError as error:
            raise TransportFailure(error.code, str(error)) from error

    async def close(self) -> None:
        await self._client.close()
