"""Service: the facts about a folder of models that its manifests repeat."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import frozen

from mlsrv.errors import ConfigurationError
from mlsrv_cli.sources import SETTINGS_FILE
from mlsrv_settings_kit.sources import read_object

UNLOADING = 15
"""Seconds for models to unload, after requests in flight have finished."""

NAME = re.compile(r"[a-z]([a-z0-9-]{0,48}[a-z0-9])?")
"""Names that Kubernetes and Compose take, with room for what they append."""


@frozen
class Service:
    """An image with models, as it is run.

    Attributes:
        name: of what is made from it.
        image: reference of the image.
        ports: ``http``, ``grpc`` and ``metrics``.
        delay: seconds in which the server is not ready and still takes requests, before it stops.
        timeout: seconds in which requests in flight finish.
        tls: whether the folder's settings have certificates.
    """

    name: str
    image: str
    ports: dict[str, int]
    delay: int
    timeout: int
    tls: bool

    @property
    def grace(self) -> int:
        """Seconds until a process that was asked to end may be killed."""
        return self.delay + self.timeout + UNLOADING

    @property
    def scheme(self) -> str:
        """The scheme of URLs."""
        return "https" if self.tls else "http"

    @property
    def variables(self) -> dict[str, str]:
        """Variables of the server for a read-only file system with a folder ``/tmp``."""
        return {
            "HOME": "/tmp",  # of a container
            "MLSRV_ENVIRONMENTS_DIR": "/tmp/environments",
            "MLSRV_SHUTDOWN_DELAY": str(self.delay),
            "MLSRV_SHUTDOWN_TIMEOUT": str(self.timeout),
        }


def service_of(folder: Path, image: str, name: str | None = None) -> Service:
    """Return the service of a folder.

    Args:
        folder: of models, with a ``settings.json`` or without.
        image: reference of the image that has them.
        name: that of the folder by default, with what is not allowed in it replaced.

    Raises:
        ConfigurationError: the settings cannot be read, a port is no fixed one, or the name or the reference
            cannot be used.
    """
    file = folder / SETTINGS_FILE
    settings = read_object(file) if file.is_file() else {}
    chosen = name or re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-0123456789")[:50]
    if NAME.fullmatch(chosen) is None:
        raise ConfigurationError(
            f'--name {chosen or folder}: expected up to 50 of "a-z0-9-", with a letter first and no "-" last.'
        )
    if not re.fullmatch(r"[\w./:@-]+", image):
        raise ConfigurationError(f"--image {image!r}: expected a reference such as registry.example/iris:1.")
    ports = {
        "http": _number(file, settings, "http_port", 8080),
        "grpc": _number(file, settings, "grpc_port", 8081),
        "metrics": _number(file, settings, "metrics_port", 8082),
    }
    if not all(ports.values()):
        raise ConfigurationError(f"{file}: a port is 0, which lets the server choose; give it a number.")
    return Service(
        name=chosen,
        image=image,
        ports=ports,
        delay=_number(file, settings, "shutdown_delay", 5),
        timeout=_number(file, settings, "shutdown_timeout", 30),
        tls=bool(settings.get("tls_cert")),
    )


def _number(file: Path, settings: dict[str, Any], key: str, default: int) -> int:
    value = settings.get(key, default)
    try:
        return round(float(value))
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(f"{file}: {key}: expected a number, got {value!r}") from None
