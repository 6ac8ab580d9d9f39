"""Collectors of traces, as real servers: OTLP over gRPC and over HTTP."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from attrs import frozen
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

SECONDS = 30


@frozen
class Seen:
    """A span that arrived.

    Attributes:
        resource: attributes of who sent it.
        proto: as it was sent.
    """

    resource: dict[str, Any]
    proto: Any

    @property
    def name(self) -> str:
        return str(self.proto.name)

    @property
    def trace(self) -> str:
        return str(self.proto.trace_id.hex())

    @property
    def id(self) -> str:
        return str(self.proto.span_id.hex())

    @property
    def parent(self) -> str:
        return str(self.proto.parent_span_id.hex())

    @property
    def links(self) -> set[str]:
        return {link.span_id.hex() for link in self.proto.links}

    @property
    def attributes(self) -> dict[str, Any]:
        return _plain(self.proto.attributes)

    @property
    def failed(self) -> bool:
        return bool(self.proto.status.code == self.proto.status.STATUS_CODE_ERROR)

    @property
    def pid(self) -> int:
        return int(self.resource["process.pid"])


class Collector:
    """Keeps what arrives at a server.

    Attributes:
        url: of the server.
    """

    def __init__(self) -> None:
        self.url = ""
        self._spans: list[Seen] = []
        self._arrival = threading.Condition()

    @property
    def spans(self) -> list[Seen]:
        with self._arrival:
            return list(self._spans)

    def named(self, name: str) -> list[Seen]:
        """The spans of a name, in the order in which they began."""
        found = [span for span in self.spans if span.name == name]
        return sorted(found, key=lambda span: span.proto.start_time_unix_nano)

    def one(self, name: str) -> Seen:
        (found,) = self.named(name)
        return found

    def traces(self) -> dict[str, list[Seen]]:
        """The spans of each trace, each of which must be one tree."""
        found: dict[str, list[Seen]] = defaultdict(list)
        for span in self.spans:
            found[span.trace].append(span)
        for spans in found.values():
            ids = {span.id for span in spans}
            assert sum(span.parent not in ids for span in spans) == 1, sorted(span.name for span in spans)
        return found

    def wait(self, enough: Callable[[list[Seen]], bool]) -> None:
        """Wait until what has arrived is enough."""
        with self._arrival:
            assert self._arrival.wait_for(lambda: enough(self._spans), SECONDS), [
                span.name for span in self._spans
            ]

    def take(self, request: Any) -> None:
        """Keep what a client sent."""
        with self._arrival:
            self._spans += _read(request)
            self._arrival.notify_all()


def _read(request: Any) -> Iterator[Seen]:
    for sent in request.resource_spans:
        resource = _plain(sent.resource.attributes)
        for scope in sent.scope_spans:
            yield from (Seen(resource, span) for span in scope.spans)


def _plain(attributes: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}


class _Service(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take = take

    def Export(self, request: Any, context: Any) -> Any:
        self._take(request)
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def grpc_collector(take: Callable[[Any], None] | None = None, port: int = 0) -> Iterator[Collector]:
    """A collector that speaks OTLP over gRPC; `take` stands in for keeping what arrives."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    service = _Service(take or collector.take)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(service, server)
    collector.url = f"http://127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait(SECONDS)


@contextmanager
def http_collector() -> Iterator[Collector]:
    """A collector that speaks OTLP over HTTP."""
    collector = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.take(trace_service_pb2.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join(SECONDS)
