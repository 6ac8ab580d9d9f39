"""What connections begin with: limits, and the certificate, of which any fault is told before serving."""

from __future__ import annotations

import ssl

from mlsrv.errors import ConfigurationError
from mlsrv_rest.settings import RestSettings

HANDSHAKE_SECONDS = 20.0
HEAD_BYTES = 2**16
"""Bytes that the line and the headers of a request may have together."""


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
