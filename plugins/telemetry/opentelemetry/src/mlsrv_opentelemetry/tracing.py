"""Tracing: the provider of one kernel, or of one worker process, and its queue to the collector."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from importlib.metadata import version
from random import random
from typing import Any

from attrs import frozen
from opentelemetry.context import Context, get_current, set_value
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, ParentBasedTraceIdRatio, Sampler
from opentelemetry.trace import Span, SpanKind, get_current_span

from mlsrv.settings import ModelSettings
from mlsrv_opentelemetry.exporters import make_exporter
from mlsrv_opentelemetry.propagation import headers_of, is_unrecorded, parent_of, unrecorded_headers
from mlsrv_opentelemetry.providers import PROVIDER, serve_get_tracer
from mlsrv_opentelemetry.settings import Protocol
from mlsrv_opentelemetry.span_queue import SpanQueue

_NOWHERE = Context()

PATIENCE = 3.0
"""Seconds for sending the remaining spans when the server or a worker stops."""

HOPELESS = 0.5
"""Seconds for the same if the collector did not accept the previous spans."""


@frozen
class Target:
    """The collector and the share of the traces that it gets.

    Attributes:
        server, protocol: of the collector.
        rate: share of the traces that begin here which are recorded.
        service: name and version of the service.
        limit: spans that may wait.
        is_global: whether ``get_tracer`` should work in model code.
    """

    server: str
    protocol: Protocol
    rate: float
    service: tuple[str, str]
    limit: int
    is_global: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Target:
        """Return the target that server settings, by name, describe."""
        return cls(
            settings["tracing_server"],
            settings["tracing_protocol"],
            settings["tracing_sample_rate"],
            (
                settings["tracing_service_name"] or settings["server_name"],
                settings["server_version"] or version("mlsrv-core"),
            ),
            settings["tracing_queue_size"],
            settings["tracing_global_provider"],
        )


class Tracing:
    """Makes spans and sends them. Its provider is never the global one of the process.

    Raises:
        ConfigurationError: see `make_exporter`.

    Attributes:
        provider: of tracers, for user code.
        tracer: makes our own spans, of what is to be recorded.
        span_queue: knows how many spans were lost.
    """

    def __init__(self, target: Target) -> None:
        exporter = make_exporter(target.server, target.protocol)
        name, number = target.service
        resource = Resource.create(
            {"service.name": name, "service.version": number, "process.pid": os.getpid()}
        )
        self._closed = False
        self.span_queue = SpanQueue(exporter, target.server, target.limit)
        self._rate = target.rate
        self.provider = self._provider(resource, ParentBasedTraceIdRatio(target.rate))
        self._around = set_value(PROVIDER, self.provider, _NOWHERE)
        # `begin` has decided before it makes a span.
        own = self._provider(resource, ParentBased(ALWAYS_ON))
        self.tracer = own.get_tracer("mlsrv", version("mlsrv-core"))

        if target.is_global:
            serve_get_tracer()

    @staticmethod
    def attributes(model: ModelSettings) -> dict[str, str]:
        """Return the attributes of a model's spans."""
        version = {} if model.version is None else {"mlsrv.model.version": model.version}
        return {"mlsrv.model.name": model.name} | version

    def begin(
        self,
        name: str,
        headers: Mapping[str, str],
        within: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, str] | None = None,
    ) -> tuple[Span | None, Mapping[str, str]]:
        """Continue the caller's trace, with the caller's sampling decision, or begin one.

        Args:
            name: of the span.
            headers: that came; names in lower case.
            within: where the caller is, if there are no headers.
            kind, attributes: of the span.

        Returns:
            The span, or None if it is not recorded, and the headers that continue the trace.
        """
        if is_unrecorded(headers):
            return None, headers
        parent = parent_of(headers) if "traceparent" in headers else within or _NOWHERE
        if random() >= self._rate and not (parent and get_current_span(parent).get_span_context().is_valid):
            return None, unrecorded_headers()
        span = self.tracer.start_span(name, parent, kind, attributes)
        return span if span.is_recording() else None, headers_of(span)

    def current_context(self) -> Context:
        """Return OpenTelemetry's current context, with this provider for model code."""
        within = get_current()
        return set_value(PROVIDER, self.provider, within) if within else self._around

    def _provider(self, resource: Resource, sampler: Sampler) -> TracerProvider:
        provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
        provider.add_span_processor(self.span_queue)
        return provider

    def close(self) -> None:
        """Send the spans that wait, within `PATIENCE`. Blocks; idempotent."""
        if self._closed:
            return
        self._closed = True
        sending = threading.Thread(target=self.span_queue.shutdown, name="mlsrv-tracing-end", daemon=True)
        sending.start()
        sending.join(HOPELESS if self.span_queue.failing else PATIENCE)
        if sending.is_alive():
            self.span_queue.abort()
            sending.join(1.0)
