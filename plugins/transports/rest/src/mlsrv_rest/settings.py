"""Settings: keys of the HTTP server and of cross-origin requests."""

from __future__ import annotations

from typing import Literal

from mlsrv.settings import setting, settings_class

_DECOMPRESSED_BYTES = 64 * 2**20


@settings_class
class CORSSettings:
    """Cross-origin requests: the pages of other sites that browsers allow to use this server."""

    allow_origins: list[str] = setting(factory=list, help='Origins that are allowed; ["*"] means all.')
    allow_origin_regex: str | None = setting(None, help="A regular expression for origins that are allowed.")
    allow_credentials: bool = setting(False, help="Let browsers send cookies and credentials.")
    allow_methods: list[str] = setting(
        factory=lambda: ["GET", "POST"], help='Methods that are allowed; ["*"] means all.'
    )
    allow_headers: list[str] = setting(
        factory=list, help='Further request headers that are allowed; ["*"] means all.'
    )
    expose_headers: list[str] = setting(factory=list, help="Response headers that the page may read.")
    max_age: int = setting(600, help="Seconds that a browser may remember the answer to a preflight.")


@settings_class
class RestSettings:
    """The HTTP server."""

    http_port: int = setting(8080, help="Port of the HTTP server; 0 takes a free one.")
    http_server: Literal["combined", "hypercorn", "uvicorn"] = setting(
        "combined",
        help='"combined" speaks HTTP/1.1 with httptools and HTTP/2 with Hypercorn, on the same port; '
        '"hypercorn" speaks both with Hypercorn; "uvicorn" speaks HTTP/1.1 only.',
    )
    root_path: str = setting(
        "",
        help='Prefix under which a proxy publishes this server, for example "/ml"; paths are served with and '
        "without it.",
    )
    cors_settings: CORSSettings | None = setting(
        None, help="Cross-origin requests; none are allowed when not set."
    )
    http_allowed_hosts: list[str] = setting(
        factory=list,
        help="Names by which clients may reach this server (header Host), beside addresses and localhost; "
        "all are allowed when empty.",
    )
    http_control_origins: list[str] = setting(
        factory=list,
        help="Other sites whose pages may load and unload models, such as https://ops.example.com; CORS "
        "does not allow that.",
    )
    http_max_body_size: int = setting(
        256 * 2**20,
        help="Bytes that the body of a request may have; a larger one is refused with status 413.",
    )
    http_max_decompressed_size: int | None = setting(
        None,
        help="Bytes that a compressed body may unpack to; 64 MiB when not set, or http_max_body_size if that "
        "is less. A body of more than 1 MiB may also unpack to no more than 100 times its size.",
    )
    http_max_total_body_size: int = setting(
        2**31,
        help="Bytes that the bodies of all requests may have together, from arrival to answer; more is "
        "refused with status 503. Not less than what one request may need.",
    )
    http_receive_timeout: float = setting(
        60.0,
        help="Seconds in which the body of a request must come, and one more for each 16 KiB of it; a slower "
        "one is refused with status 408.",
    )
    http_send_timeout: float = setting(
        60.0,
        help="Seconds without progress after which an answer that its client does not read is given up, and "
        "its connection closed.",
    )
    http_max_connections: int = setting(
        10_000, help="Connections that may be open at once; a further one is answered with status 503."
    )
    http_h2c_upgrade: bool = setting(
        True,
        help="Switch to HTTP/2 where a request without TLS offers it (Upgrade: h2c). Turn it off behind a "
        "proxy that filters paths: it does not see the requests that follow.",
    )
    http_keep_alive: float = setting(
        75.0, help="Seconds after which an idle connection is closed; longer than a load balancer keeps it."
    )
    http_tls_cert: str | None = setting(None, help="Certificate chain (PEM file); turns TLS on.", path=True)
    http_tls_key: str | None = setting(
        None, help="Private key of the certificate (PEM file), if it is not in that file.", path=True
    )
    http_tls_ca: str | None = setting(
        None,
        help="Certificates of authorities (PEM file); clients must then show a certificate signed by one.",
        path=True,
    )
    gzip_enabled: bool = setting(
        False, help="Compress inference responses of 500 bytes and more for clients that accept gzip."
    )

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.http_port <= 65535:
            raise ValueError(f"http_port: expected a number from 0 to 65535, got {self.http_port}")
        for name in (
            "http_max_body_size",
            "http_max_decompressed_size",
            "http_max_total_body_size",
            "http_receive_timeout",
            "http_send_timeout",
            "http_max_connections",
            "http_keep_alive",
        ):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name}: expected a number above 0, got {value}")
        if self.http_tls_cert is None and (self.http_tls_key or self.http_tls_ca):
            raise ValueError("http_tls_cert: expected a file, because other TLS settings are given")

    @property
    def decompressed_limit(self) -> int:
        """Return the bytes that a compressed body may unpack to."""
        return self.http_max_decompressed_size or min(_DECOMPRESSED_BYTES, self.http_max_body_size)

    @property
    def total_limit(self) -> int:
        """Return the bytes that all bodies may have together. A body that is decompressed is held in both
        forms."""
        return max(self.http_max_total_body_size, self.http_max_body_size + self.decompressed_limit)

    @property
    def prefix(self) -> str:
        """Return the root path with a slash in front and none behind; empty if there is none."""
        inner = self.root_path.strip("/")
        return f"/{inner}" if inner else ""
