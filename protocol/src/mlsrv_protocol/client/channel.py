"""Channels: connections to one server, chosen by the scheme of its URL."""

from collections.abc import AsyncIterator, Iterator, Mapping
from importlib import import_module
from typing import Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

from mlsrv_protocol.client.calls import Call
from mlsrv_protocol.client.errors import ServerError
from mlsrv_protocol.client.http_channel import HttpChannel
from mlsrv_protocol.client.trust import Certificate
from mlsrv_protocol.errors import Code, InvalidPayload

T = TypeVar("T")

SCHEMES = ("http", "https", "grpc", "grpcs", "kafka", "kafkas")


class Channel(Protocol):
    """The connections to one server.

    A call raises `ServerError` when the server refuses it, and `ConnectionFailed` when it cannot be reached.
    """

    def run(self, call: Call[T]) -> T:
        """Make a call once and wait for its result."""

    async def run_async(self, call: Call[T]) -> T:
        """Make a call once."""

    def close(self) -> None:
        """Close the connections that `run` opened."""

    async def close_async(self) -> None:
        """Close the connections that `run_async` opened."""


@runtime_checkable
class StreamingChannel(Channel, Protocol):
    """A channel that can read answers of several responses."""

    def stream(self, call: Call[T]) -> Iterator[T]:
        """Make a call once, and yield its results as they come."""

    def stream_async(self, call: Call[T]) -> AsyncIterator[T]:
        """Make a call once, and yield its results as they come."""


def streaming(channel: Channel) -> StreamingChannel:
    """Return a channel as one that can read streams.

    Raises:
        ServerError: it cannot.
    """
    if isinstance(channel, StreamingChannel):
        return channel
    raise ServerError("This client reads streams over Kafka alone.", Code.UNIMPLEMENTED)


def check_url(url: str) -> tuple[str, str]:
    """Return the scheme of a server's URL and its host and port.

    Raises:
        InvalidPayload: the scheme is none of `SCHEMES`, or there is no host.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise InvalidPayload(
            f"{url!r} is not the URL of a server; write http://HOST:PORT, or https, grpc, grpcs or kafka."
        )
    return parts.scheme, parts.netloc


def make_channel(
    url: str,
    timeout: float,
    headers: Mapping[str, str],
    verify: str | bool,
    cert: Certificate | None = None,
) -> Channel:
    """Return the channel for a URL; it connects with its first call. The arguments are those of `Client`.

    Raises:
        InvalidPayload: the URL is not that of a server, or a certificate cannot be read.
    """
    scheme, target = check_url(url)
    if scheme.startswith("http"):
        return HttpChannel(url, timeout, headers, verify, cert)
    # Imported by name and only here, as their libraries are extras that no other URL needs.
    if scheme.startswith("kafka"):
        made: Channel = import_module("mlsrv_protocol.client.kafka_channel").KafkaChannel(
            url, timeout, headers, verify, cert
        )
    else:
        made = import_module("mlsrv_protocol.client.grpc_channel").GrpcChannel(
            target, scheme == "grpcs", timeout, headers, verify, cert
        )
    return made
