"""Base client: the connection of a client, synchronous or for asyncio, to one server."""

from __future__ import annotations

from collections.abc import Mapping

from mlsrv_protocol.client.channel import make_channel
from mlsrv_protocol.client.trust import Certificate


class BaseClient:
    """A client of one server. Every call raises `ServerError` when the server refuses it, and
    `ConnectionFailed` when it cannot be reached.

    Args:
        url: `http://`, `https://`, `grpc://` or `grpcs://`, host and port. With
            `kafka://HOST:PORT/INPUT/OUTPUT?errors=TOPIC` inferences, and nothing else, are asked over topics.
        timeout: seconds for one attempt.
        retries: further attempts when no connection could be made, or when the server is overloaded and the
            call is safe to repeat. An inference counts as safe only with `repeatable=True`.
        headers: sent with each call.
        verify: for TLS: the path of a PEM file with authorities; True takes common ones;
            False, for HTTP alone, checks nothing.
        cert: for TLS: the client's own certificate, as the path of a PEM file with the chain and the private
            key, or as a tuple of the paths of two.

    Raises:
        InvalidPayload: the URL is not that of a server, or a certificate cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 60.0,
        retries: int = 2,
        headers: Mapping[str, str] | None = None,
        verify: str | bool = True,
        cert: Certificate | None = None,
    ) -> None:
        self._channel = make_channel(url, timeout, headers or {}, verify, cert)
        self._retries = retries
