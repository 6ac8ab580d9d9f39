"""Settings: keys of the gRPC server."""

from __future__ import annotations

from typing import Literal

from mlsrv.settings import setting, settings_class

_MAX_INT32 = 2**31 - 1
_MAX_MESSAGE = 2**32 - 1  # the length of a message has four bytes


@settings_class
class GrpcSettings:
    """The gRPC server."""

    grpc_port: int = setting(8081, help="Port of the gRPC server; 0 takes a free one.")
    grpc_max_message_length: int | None = setting(
        256 * 2**20,
        help="Bytes that one message may have, in or out, when it is unpacked; null for unlimited ones.",
    )
    grpc_max_concurrent_calls: int | None = setting(
        2000, help="Calls that may be open at once, all methods together; null for no limit."
    )
    grpc_max_total_message_size: int = setting(
        2**31,
        help="Bytes that the messages of all requests may have together, from their last byte to the answer; "
        "more ends with RESOURCE_EXHAUSTED. Not less than what one message may have.",
        at_least=1,
    )
    grpc_send_timeout: float = setting(
        60.0,
        help="Seconds that a client may take to read an answer, and one more for each 256 KiB of it; then "
        "its connection is closed.",
        at_least=0.001,
    )
    grpc_stream_responses: Literal["triton", "plain"] = setting(
        "triton",
        help="Messages of ModelStreamInfer: as Triton's clients expect them, or plain ones as of ModelInfer, "
        "as clients of MLServer and Seldon do; the first failure then ends the stream.",
    )
    grpc_reflection: bool = setting(True, help="Describe services and messages to tools (reflection).")
    grpc_max_unsent_bytes: int = setting(
        2**30,
        help="Bytes of answers that may wait for their clients to read them, all calls together; a call "
        "whose answer finds no room ends with RESOURCE_EXHAUSTED.",
        at_least=1,
    )
    grpc_tls_cert: str | None = setting(None, help="Certificate chain (PEM file); turns TLS on.", path=True)
    grpc_tls_key: str | None = setting(
        None, help="Private key of the certificate (PEM file), if it is not in that file.", path=True
    )
    grpc_tls_ca: str | None = setting(
        None,
        help="Certificates of authorities (PEM file); clients must then show a certificate signed by one.",
        path=True,
    )
    grpc_options: dict[str, str | int] = setting(
        factory=dict,
        help='Further channel arguments of the gRPC library, such as {"grpc.keepalive_time_ms": 30000}.',
    )

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.grpc_port <= 65535:
            raise ValueError(f"grpc_port: expected a number from 0 to 65535, got {self.grpc_port}")
        limit = self.grpc_max_message_length
        if limit is not None and not 0 < limit <= _MAX_INT32:
            raise ValueError(
                f"grpc_max_message_length: expected a number from 1 to {_MAX_INT32}, got {limit}"
            )
        calls = self.grpc_max_concurrent_calls
        if calls is not None and not 0 < calls <= _MAX_INT32:
            raise ValueError(
                f"grpc_max_concurrent_calls: expected a number from 1 to {_MAX_INT32}, got {calls}"
            )
        if self.grpc_tls_cert is None and (self.grpc_tls_key or self.grpc_tls_ca):
            raise ValueError("grpc_tls_cert: expected a file, because other TLS settings are given")

    @property
    def total_limit(self) -> int:
        """Return the bytes that the messages of all requests may have together."""
        return max(self.grpc_max_total_message_size, self.grpc_max_message_length or _MAX_MESSAGE)
