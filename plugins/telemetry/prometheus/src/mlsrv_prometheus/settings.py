"""Metrics settings."""

from __future__ import annotations

import re

from mlsrv.settings import setting, settings_class

_PREFIX = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@settings_class
class PrometheusSettings:
    """Server settings."""

    metrics_endpoint: str | None = setting(
        "/metrics", help="Path of the metrics; null switches them off, and their port is not opened."
    )
    metrics_port: int = setting(8082, help="Port on which the metrics are served; 0 takes a free one.")
    metrics_rest_server_prefix: str = setting(
        "rest_server", help="What the names of the metrics about HTTP requests begin with."
    )
    metrics_dir: str | None = setting(
        None, help="Accepted for the sake of existing files; not needed, for no metrics are kept in files."
    )

    def __attrs_post_init__(self) -> None:
        if self.metrics_endpoint is not None and not self.metrics_endpoint.startswith("/"):
            raise ValueError(
                f"metrics_endpoint: expected a path that begins with /, got {self.metrics_endpoint!r}"
            )
        if not 0 <= self.metrics_port <= 65535:
            raise ValueError(f"metrics_port: expected a number from 0 to 65535, got {self.metrics_port}")
        if not _PREFIX.fullmatch(self.metrics_rest_server_prefix):
            raise ValueError(
                "metrics_rest_server_prefix: expected letters, digits and _, "
                f"got {self.metrics_rest_server_prefix!r}"
            )
