"""Address: binds the server to its address with its certificate; each error is one sentence."""

from __future__ import annotations

from pathlib import Path

import grpc

from mlsrv.listening import bind, host_and_port, tls_context, unusable
from mlsrv_grpc.settings import GrpcSettings

_NAMES = {"server": "gRPC", "setting": "grpc_port"}


def listen(server: grpc.aio.Server, host: str, settings: GrpcSettings) -> str:
    """Bind a server that has not been started. Returns its URL.

    Raises:
        ConfigurationError: the address or a file cannot be used.
    """
    credentials = server_credentials(settings)
    # gRPC does not report why it cannot bind, and writes to standard error: try first.
    bind(host, settings.grpc_port, **_NAMES).close()
    address = host_and_port(host, settings.grpc_port)
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        reason = "the address is in use or does not exist"
        raise unusable(host, settings.grpc_port, reason, **_NAMES) from error
    return f"{'grpc' if credentials is None else 'grpcs'}://{host_and_port(host, port)}"


def server_credentials(settings: GrpcSettings) -> grpc.ServerCredentials | None:
    """Return the TLS credentials of the settings, or None.

    Raises:
        ConfigurationError: a file cannot be read or used.
    """
    cert, key, ca = settings.grpc_tls_cert, settings.grpc_tls_key, settings.grpc_tls_ca
    if cert is None:
        return None
    # gRPC does not report an invalid file, and refuses each handshake later: try them first.
    tls_context(cert, key, ca, setting="grpc_tls")
    key_and_chain = Path(key or cert).read_bytes(), Path(cert).read_bytes()
    authorities = None if ca is None else Path(ca).read_bytes()
    return grpc.ssl_server_credentials(
        [key_and_chain], root_certificates=authorities, require_client_auth=authorities is not None
    )
