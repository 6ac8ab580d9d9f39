"""Tracing settings."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from mlsrv.settings import setting, settings_class

Protocol = Literal["grpc", "http/protobuf"]


@settings_class
class TracingSettings:
    """Server settings."""

    tracing_server: str | None = setting(
        None,
        help='Collector that gets the spans, for example "http://localhost:4317"; https means TLS. Nothing '
        "is traced when not set.",
    )
    tracing_protocol: Protocol = setting(
        "grpc",
        help='How OTLP is spoken to the collector: "grpc", or "http/protobuf" (mostly on port 4318), which '
        "needs mlsrv-opentelemetry[http].",
    )
    tracing_sample_rate: float = setting(
        1.0,
        help="Share of requests that are traced, from 0 to 1; where the caller has decided, that holds.",
    )
    tracing_service_name: str | None = setting(
        None, help="What the service is called in traces; server_name when not set."
    )
    tracing_queue_size: int = setting(
        8192, help="Spans that wait for the collector at most; those beyond it are dropped.", at_least=1
    )
    tracing_global_provider: bool = setting(
        True,
        help="Let OpenTelemetry's own get_tracer work in model code, if the process has no provider yet.",
    )

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.tracing_sample_rate <= 1:
            raise ValueError(
                f"tracing_sample_rate: expected a number from 0 to 1, got {self.tracing_sample_rate}"
            )
        if self.tracing_server is not None and not _is_address(self.tracing_server):
            raise ValueError(
                "tracing_server: expected an address such as http://localhost:4317, "
                f"got {self.tracing_server!r}"
            )


def _is_address(text: str) -> bool:
    try:
        url = urlsplit(text if "://" in text else f"//{text}")
        return url.scheme in ("", "http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        return False
