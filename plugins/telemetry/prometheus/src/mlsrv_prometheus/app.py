"""Metrics endpoint: an ASGI application."""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, MutableMapping, Sequence
from typing import Any, Final, TypeAlias

from prometheus_client import Metric as Samples
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mlsrv.authorization import AccessRequest
from mlsrv.errors import Code, MLSrvError, Unauthenticated
from mlsrv.kernel_api import KernelAPI
from mlsrv.threads import run_in_own_thread
from mlsrv_prometheus.family import Family
from mlsrv_prometheus.meter import PrometheusMeter, meter_of
from mlsrv_prometheus.plain_families import SummedMetrics, plain_families
from mlsrv_protocol.json import encode_error
from mlsrv_transport_kit import siblings_of
from mlsrv_transport_kit.metric_sums import Family as PlainFamily

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Readings: TypeAlias = list[tuple[Family, list[tuple[Sequence[str], float]]]]


logger = logging.getLogger("mlsrv.metrics")

_STATUS = {Code.PERMISSION_DENIED: 403, Code.RATE_LIMITED: 429}

CERTIFICATE: Final = "mlsrv_prometheus.certificate"
"""Key of the scope's ``state``: the subject of the client's certificate, by field."""

PIECE = 50
"""Samples that are written at a time."""

PAUSE = 0.00005
"""Seconds between two pieces."""


class MetricsApp:
    """Answers with all metrics, in the form that the client accepts.

    Args:
        kernel: has the meter, and the guard, while it runs.
        path: the only one that is answered; any one when None.
        registry: further metrics, of the application around the kernel.
    """

    def __init__(self, kernel: KernelAPI, path: str | None = None, registry: Collector | None = None) -> None:
        self._kernel = kernel
        self._path = None if path is None else _bare(path)
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
        elif (refusal := await self._refusal(scope)) is not None:
            await _error(send, *refusal)
        elif self._path is not None and _bare(scope["path"]) != self._path:
            await _error(send, 404, f"There is nothing here; the metrics are at {self._path}")
        elif scope["method"] not in ("GET", "HEAD"):
            await _error(send, 405, "The metrics take GET.", (b"allow", b"GET, HEAD"))
        elif (meter := meter_of(self._kernel)) is None:
            await _error(send, 503, "There are no metrics now: the kernel does not run.")
        else:
            await self._answer(meter, dict(scope["headers"]), send, scope["method"] == "HEAD")

    async def families(self, _asked: object = None) -> list[PlainFamily]:
        """Return the metrics of this process as plain data, for its siblings."""
        meter = meter_of(self._kernel)
        if meter is None:
            return []
        return await run_in_own_thread(plain_families, _Everything(meter, await meter.read(), self._registry))

    async def _refusal(self, scope: Scope) -> tuple[int, str, *tuple[tuple[bytes, bytes], ...]] | None:
        """Return status, sentence and headers for a client that may not have the metrics, or None."""
        guard = self._kernel.guard
        if guard is None:
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        operation, client = f"{scope['method']} {scope['path']}", scope.get("client")
        certificate = (scope.get("state") or {}).get(CERTIFICATE, {})
        peer = client[0] if client else ""
        access = AccessRequest("metrics", headers, None, "metrics", operation, peer, certificate)
        try:
            await guard.admit(access)
        except Unauthenticated as error:
            return 401, str(error), (b"www-authenticate", b"Bearer")
        except MLSrvError as error:
            return _STATUS.get(error.code, 500), str(error)
        return None

    async def _answer(
        self, meter: PrometheusMeter, asked: dict[bytes, bytes], send: Send, empty: bool
    ) -> None:
        encode, content_type = choose_encoder(asked.get(b"accept", b"").decode("latin-1"))
        compress = b"gzip" in asked.get(b"accept-encoding", b"")

        def body(metrics: Collector) -> bytes:
            text = encode(metrics)
            return gzip.compress(text, 3, mtime=0) if compress else text

        siblings = siblings_of(self._kernel)
        if siblings.share_ports:
            metrics: Collector = SummedMetrics(await siblings.sum_metrics(await self.families()))
        else:
            metrics = _Everything(meter, await meter.read(), self._registry)
        # Writing thousands of series takes long, so it must not block the event loop.
        found = await run_in_own_thread(body, metrics)
        headers = [(b"content-type", content_type.encode()), (b"vary", b"accept, accept-encoding")]
        if compress:
            headers.append((b"content-encoding", b"gzip"))
        await _reply(send, 200, headers, found, empty)


class _Everything(Collector):
    """A collector for the writers of `prometheus_client`."""

    def __init__(self, meter: PrometheusMeter, readings: Readings, registry: Collector | None) -> None:
        self._meter = meter
        self._readings = readings
        self._registry = registry

    def collect(self) -> Iterator[Samples]:
        names: set[str] = set()
        for family in self._meter.collect(self._readings):
            names |= {sample.name for sample in family.samples}
            family.samples = _Yielding(family.samples)
            yield family
        yield from self._others(names)

    def _others(self, taken: Collection[str]) -> Iterator[Samples]:
        """Yield the metrics of the application, but for names that are taken."""
        try:
            families = [] if self._registry is None else list(self._registry.collect())
        except Exception:  # it is code of the application
            logger.exception("The metrics of the application cannot be read")
            return
        for family in families:
            if not any(sample.name in taken for sample in family.samples):
                yield family


class _Yielding(list[Any]):
    """Samples that let other threads run while they are written: the event loop would else wait for the
    interpreter's switch interval again and again."""

    def __iter__(self) -> Iterator[Any]:
        for number, sample in enumerate(super().__iter__()):
            if number % PIECE == PIECE - 1:
                time.sleep(PAUSE)
            yield sample


def _bare(path: str) -> str:
    return path.rstrip("/") or "/"


async def _reply(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, empty: bool = False
) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if empty else body})


async def _error(send: Send, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
    await _reply(send, status, [(b"content-type", b"application/json"), *headers], encode_error(message))


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
