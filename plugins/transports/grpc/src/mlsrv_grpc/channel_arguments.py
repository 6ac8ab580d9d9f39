"""Channel arguments: options of the gRPC library, made from the settings."""

from __future__ import annotations

import difflib
import logging
from typing import Final

from mlsrv_grpc.settings import GrpcSettings

logger = logging.getLogger("mlsrv.grpc")

DEFAULTS: Final[dict[str, str | int]] = {
    # Otherwise a second server could share the port and receive half of the calls.
    "grpc.so_reuseport": 0,
    # The library cuts clients that ping more often than every 5 minutes; usual ones do so every 10 seconds.
    "grpc.http2.min_ping_interval_without_data_ms": 500,
    "grpc.http2.max_ping_strikes": 20,
    "grpc.keepalive_permit_without_calls": 1,
    # A connection whose client has gone without a word, or does not read, ends.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.http2.max_pings_without_data": 0,
}

KNOWN: Final = frozenset(
    "grpc." + name
    for name in (
        "absolute_max_metadata_size",
        "census",
        "compression_enabled_algorithms_bitset",
        "default_compression_algorithm",
        "default_compression_level",
        "dscp",
        "enable_channelz",
        "expand_wildcard_addrs",
        "experimental.http2.enable_preferred_frame_size",
        "experimental.tcp_max_read_chunk_size",
        "experimental.tcp_min_read_chunk_size",
        "experimental.tcp_read_chunk_size",
        "experimental.tcp_tx_zerocopy_enabled",
        "experimental.tcp_tx_zerocopy_max_simultaneous_sends",
        "experimental.tcp_tx_zerocopy_send_bytes_threshold",
        "http.overload_protection",
        "http.tarpit",
        "http.tarpit_max_duration_ms",
        "http.tarpit_min_duration_ms",
        "http2.ack_pings",
        "http2.bdp_probe",
        "http2.hpack_table_size.decoder",
        "http2.hpack_table_size.encoder",
        "http2.initial_sequence_number",
        "http2.lookahead_bytes",
        "http2.max_frame_size",
        "http2.max_inflight_pings",
        "http2.max_ping_strikes",
        "http2.max_pings_without_data",
        "http2.max_requests_per_read",
        "http2.min_ping_interval_without_data_ms",
        "http2.ping_on_rst_stream_percent",
        "http2.ping_timeout_ms",
        "http2.settings_timeout",
        "http2.true_binary",
        "http2.write_buffer_size",
        "keepalive_permit_without_calls",
        "keepalive_time_ms",
        "keepalive_timeout_ms",
        "max_allowed_incoming_connections",
        "max_channel_trace_event_memory_per_node",
        "max_concurrent_streams",
        "max_connection_age_grace_ms",
        "max_connection_age_ms",
        "max_connection_idle_ms",
        "max_metadata_size",
        "max_receive_message_length",
        "max_send_message_length",
        "minimal_stack",
        "per_message_compression",
        "per_message_decompression",
        "server.max_pending_requests",
        "server.max_pending_requests_hard_limit",
        "server_handshake_timeout_ms",
        "server_max_unrequested_time_in_server",
        "so_reuseport",
        "tcp_receive_buffer_size",
        "tcp_tracing_enabled",
        "tsi.max_frame_size",
    )
)
"""Arguments that mean something to a server. Source: headers ``channel_arg_names.h`` of gRPC."""


def channel_arguments(settings: GrpcSettings, *, share_port: bool = False) -> list[tuple[str, str | int]]:
    """Return the arguments for a server; those of ``grpc_options`` count more than others.

    Args:
        settings: of the transport.
        share_port: whether other processes of the server listen on its port, too.

    Arguments that the library does not know are logged as a warning: it ignores them.
    """
    for name in settings.grpc_options:
        if name not in KNOWN:
            similar = difflib.get_close_matches(name, KNOWN, 1, 0.7)
            hint = f"; did you mean {similar[0]}?" if similar else ""
            logger.warning("grpc_options: the gRPC library ignores %s, which it does not know%s", name, hint)
    limit = settings.grpc_max_message_length or -1
    limits = {"grpc.max_receive_message_length": limit, "grpc.max_send_message_length": limit}
    shared = {"grpc.so_reuseport": 1} if share_port else {}
    return list((DEFAULTS | limits | shared | settings.grpc_options).items())
