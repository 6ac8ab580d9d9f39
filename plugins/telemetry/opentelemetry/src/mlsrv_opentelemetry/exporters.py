"""Exporters: made from the settings of tracing."""

from __future__ import annotations

from urllib.parse import urlsplit

from opentelemetry.sdk.trace.export import SpanExporter

from mlsrv.errors import ConfigurationError
from mlsrv_opentelemetry.settings import Protocol

LOGGERS = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)
"""Loggers of the exporters, which get the reasons of failed exports."""


def make_exporter(server: str, protocol: Protocol) -> SpanExporter:
    """Return an exporter to a collector.

    Headers, certificates, compression and timeout are read from OpenTelemetry's own environment variables,
    ``OTEL_EXPORTER_OTLP_…``.

    Raises:
        ConfigurationError: the protocol needs a distribution that is not installed.
    """
    return _http(server) if protocol == "http/protobuf" else _grpc(server)


def _grpc(server: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=server, insecure=not server.startswith("https://"))


def _http(server: str) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigurationError(
            'tracing_protocol is "http/protobuf", which needs more: pip install "mlsrv-opentelemetry[http]"'
        ) from None
    url = urlsplit(server if "://" in server else f"http://{server}")
    path = url.path if url.path.strip("/") else "/v1/traces"
    return OTLPSpanExporter(endpoint=url._replace(path=path).geturl())
