"""Trust: the authorities by which the client checks servers, and the sentences when that fails."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TypeAlias

from mlsrv_protocol.client.errors import ConnectionFailed
from mlsrv_protocol.errors import InvalidPayload

Certificate: TypeAlias = str | tuple[str, str]
"""A client's certificate: the path of a PEM file with its chain and its private key, or of one for each."""


def trusted(verify: str | bool, cert: Certificate | None = None) -> ssl.SSLContext | bool:
    """Return what httpx takes for the arguments `verify` and `cert` of `Client`.

    Raises:
        InvalidPayload: a file cannot be read, or holds no certificates.
    """
    if isinstance(verify, str):
        try:
            context = ssl.create_default_context(cafile=verify)
        except (OSError, ValueError) as error:  # a part of them are errors of TLS
            raise _unusable(verify, error) from error
    elif cert is None:
        return verify
    else:
        import httpx

        context = httpx.create_ssl_context(verify)
    if cert is not None:
        chain, key = files_of(cert)
        try:
            # A password would be asked for on the terminal.
            context.load_cert_chain(chain, key, password=lambda: "")
        except (OSError, ValueError) as error:
            raise _unusable_certificate(chain, key, error) from error
    return context


def files_of(cert: Certificate) -> tuple[str, str]:
    """Return the paths of a certificate's chain and of its private key."""
    return (cert, cert) if isinstance(cert, str) else cert


def certificate_bytes(cert: Certificate) -> tuple[bytes, bytes]:
    """Return the private key and the chain of a client's certificate for gRPC.

    Raises:
        InvalidPayload: a file cannot be read, or they do not fit each other.
    """
    trusted(True, cert)  # gRPC takes any bytes, and fails at the first call with another sentence
    chain, key = files_of(cert)
    return Path(key).read_bytes(), Path(chain).read_bytes()


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


def _unusable_certificate(chain: str, key: str, error: Exception) -> InvalidPayload:
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    files = chain if chain == key else f"{chain} and {key}"
    return InvalidPayload(
        f"{files} cannot be read as a certificate and its private key, without a password: {reason}"
    )


def _unusable(file: str, error: Exception) -> InvalidPayload:
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    return InvalidPayload(f"{file} cannot be read as certificates of authorities: {reason}")
