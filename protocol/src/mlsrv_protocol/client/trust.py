"""Trust: the authorities by which the client checks servers, and the sentences when that fails."""

from __future__ import annotations

import ssl
from pathlib import Path

from mlsrv_protocol.client.errors import ConnectionFailed
from mlsrv_protocol.errors import InvalidPayload


def trusted(verify: str | bool) -> ssl.SSLContext | bool:
    """Return what httpx takes for the argument `verify` of `Client`.

    Raises:
        InvalidPayload: the file cannot be read, or holds no certificates.
    """
    if isinstance(verify, str):
        try:
            return ssl.create_default_context(cafile=verify)
        except (OSError, ValueError) as error:  # a part of them are errors of TLS
            raise _unusable(verify, error) from error
    return verify


def trusted_bytes(verify: str | bool) -> bytes | None:
    """Return certificates of authorities for gRPC, or None for its own.

    Raises:
        InvalidPayload: the file cannot be read, or `verify` is False, which gRPC cannot do.
    """
    if verify is False:
        raise InvalidPayload(
            "gRPC cannot leave out the check of the server's certificate; name the file of its authority."
        )
    if verify is True:
        return None
    try:
        return Path(verify).read_bytes()
    except OSError as error:
        raise _unusable(verify, error) from error


def unreachable(server: str, text: str) -> ConnectionFailed:
    """Return the error for a server that no connection leads to; tells a failure of TLS from others.

    Args:
        server: its host and port.
        text: the error.
    """
    if "certificate_verify_failed" in text.lower() or "certificate verify failed" in text.lower():
        return ConnectionFailed(
            f"The server {server} answers, but its certificate is not trusted ({text}); name the file of the "
            "authority that signed it (verify, on the command line --ca)."
        )
    if "ssl" in text.lower() or "tls" in text.lower():
        return ConnectionFailed(
            f"The server {server} answers, but TLS fails ({text}); does it speak TLS, and does it ask for a "
            "certificate of the client?"
        )
    return ConnectionFailed(f"The server {server} cannot be reached ({text}); is it running?")


def _unusable(file: str, error: Exception) -> InvalidPayload:
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    return InvalidPayload(f"{file} cannot be read as certificates of authorities: {reason}")
