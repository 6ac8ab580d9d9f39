"""Metrics: those of gRPC calls, with the names and labels that MLServer uses."""

from __future__ import annotations

from mlsrv.metrics import SECONDS, Metric

_GRPC = ("grpc_type", "grpc_service", "grpc_method")

GRPC_STARTED = Metric("grpc_server_started", "gRPC calls that were started.", "counter", _GRPC)
GRPC_HANDLED = Metric(
    "grpc_server_handled", "gRPC calls that ended, with whatever code.", "counter", (*_GRPC, "grpc_code")
)
GRPC_SECONDS = Metric(
    "grpc_server_handling_seconds",
    "Seconds from the start of gRPC calls to their end.",
    "histogram",
    _GRPC,
    SECONDS,
)
GRPC_RECEIVED = Metric("grpc_server_msg_received", "Messages of streams received.", "counter", _GRPC)
GRPC_SENT = Metric("grpc_server_msg_sent", "Messages of streams sent.", "counter", _GRPC)

METRICS = (GRPC_STARTED, GRPC_HANDLED, GRPC_SECONDS, GRPC_RECEIVED, GRPC_SENT)
