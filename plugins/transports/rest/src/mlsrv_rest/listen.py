"""The listening socket and its certificate: what can be wrong with them is told before anything is served."""

from __future__ import annotations

import os
import socket
import ssl

from mlsrv.errors import ConfigurationError
from mlsrv_rest.settings import RestSettings

BACKLOG = 2048
HANDSHAKE_SECONDS = 20.0
HEAD_BYTES = 2**16
"""Bytes that the line and the headers of a request may have together."""


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet.

    Raises:
        ConfigurationError: the address cannot be used; the sentence has it and the reason.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unusable(host, port, error) from error
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind(address)
        # Not later: two sockets may be bound to one port, but only one may listen.
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _unusable(host, port, error) from error
    return bound


def url(bound: socket.socket, tls: bool) -> str:
    """Where a socket is reached."""
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"


def tls_context(settings: RestSettings, protocols: list[str]) -> ssl.SSLContext | None:
    """The TLS context that the settings ask for, or None.

    Args:
        settings: with the names of the PEM files.
        protocols: what the server speaks, for ALPN.

    Raises:
        ConfigurationError: a file cannot be read or used.
    """
    if settings.http_tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(protocols)
    key = settings.http_tls_key or settings.http_tls_cert
    _readable("http_tls_cert", settings.http_tls_cert)
    _readable("http_tls_key", key)
    try:
        # Without a password OpenSSL would ask on the terminal.
        context.load_cert_chain(settings.http_tls_cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"http_tls_cert {settings.http_tls_cert} and http_tls_key {key} are not a certificate chain and "
            f"its unencrypted private key in PEM form: {_reason(error)}"
        ) from error
    if settings.http_tls_ca is not None:
        _readable("http_tls_ca", settings.http_tls_ca)
        try:
            context.load_verify_locations(settings.http_tls_ca)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"http_tls_ca {settings.http_tls_ca} holds no certificates in PEM form: {_reason(error)}"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _unusable(host: str, port: int, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"REST cannot listen on {host}:{port}: {_reason(error)}; "
        "choose another address with host and http_port."
    )


def _readable(setting: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)


def _no_password() -> str:
    raise ValueError("the private key is encrypted")
