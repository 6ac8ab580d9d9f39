"""The address and the certificate of the server: what can be wrong with them is told in one sentence."""

from __future__ import annotations

import ssl

import grpc

from mlsrv.errors import ConfigurationError
from mlsrv.listening import bind, host_and_port, unusable
from mlsrv_grpc.settings import GrpcSettings

_NAMES = {"server": "gRPC", "setting": "grpc_port"}


def listen(server: grpc.aio.Server, host: str, settings: GrpcSettings) -> str:
    """Bind a server that has not been started. Returns where it is reached, as a URL.

    Raises:
        ConfigurationError: the address, or a file, cannot be used.
    """
    credentials = server_credentials(settings)
    # gRPC does not say why it cannot bind, and writes to the standard error itself: try first.
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
    """The credentials that the settings ask for, or None.

    Raises:
        ConfigurationError: a file cannot be read or used.
    """
    if settings.grpc_tls_cert is None:
        return None
    key = settings.grpc_tls_key or settings.grpc_tls_cert
    chain, secret = _contents("grpc_tls_cert", settings.grpc_tls_cert), _contents("grpc_tls_key", key)
    # gRPC says nothing when a file is wrong, and refuses each handshake later on.
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        trial.load_cert_chain(settings.grpc_tls_cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"grpc_tls_cert {settings.grpc_tls_cert} and grpc_tls_key {key} are not a certificate chain and "
            f"its unencrypted private key in PEM form: {_reason(error)}"
        ) from error
    authorities = None
    if settings.grpc_tls_ca is not None:
        authorities = _contents("grpc_tls_ca", settings.grpc_tls_ca)
        try:
            trial.load_verify_locations(settings.grpc_tls_ca)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"grpc_tls_ca {settings.grpc_tls_ca} holds no certificates in PEM form: {_reason(error)}"
            ) from error
    return grpc.ssl_server_credentials(
        [(secret, chain)], root_certificates=authorities, require_client_auth=authorities is not None
    )


def _contents(setting: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
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
