"""Address: binds the server to its address with its certificate; each error is one sentence."""

from __future__ import annotations

from pathlib import Path

import grpc

from mlsrv.settings import KernelSettings
from mlsrv_grpc.settings import GrpcSettings
from mlsrv_transport_kit import (
    Siblings,
    TLSFiles,
    bind,
    host_and_port,
    shared_port,
    tls_context,
    unusable,
)

_NAMES = {"server": "gRPC", "setting": "grpc_port"}


def listen(
    server: grpc.aio.Server, host: str, settings: GrpcSettings, tls: GrpcTLS | None, siblings: Siblings
) -> str:
    """Bind a server that has not been started. Returns its URL.

    Args:
        server: made with ``grpc.so_reuseport`` if its port is to be shared with siblings.
        host, settings: its address.
        tls: its certificates, if it has any.
        siblings: the processes that share the port.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    # gRPC does not report why it cannot bind, and writes to standard error: try first.
    shared = shared_port(host, settings.grpc_port, **_NAMES, siblings=siblings)
    if shared is None:
        bind(host, settings.grpc_port, **_NAMES).close()
    address = host_and_port(host, settings.grpc_port if shared is None else shared)
    try:
        if tls is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, tls.credentials)
    except RuntimeError as error:
        reason = "the address is in use or does not exist"
        raise unusable(host, settings.grpc_port, reason, **_NAMES) from error
    if shared == 0:
        siblings.ports["grpc_port"] = port
    return f"{'grpc' if tls is None else 'grpcs'}://{host_and_port(host, port)}"


class GrpcTLS:
    """Certificates of the gRPC server, whose files can be read again while it runs.

    Args:
        files: the files.

    Attributes:
        credentials: those of the server; gRPC asks for the newest files at each handshake.

    Raises:
        ConfigurationError: a file cannot be read or used.
    """

    def __init__(self, files: TLSFiles) -> None:
        self._files = files
        self._newest = self._used = self._read()
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._newest,
            self._changed,  # type: ignore[arg-type]  # the stubs forget that it may return None
            require_client_authentication=files.ca is not None,
        )

    @classmethod
    def of(cls, settings: GrpcSettings, common: KernelSettings) -> GrpcTLS | None:
        """Return the certificates of the settings, or None if these have none."""
        files = TLSFiles.of(
            settings.grpc_tls_cert, settings.grpc_tls_key, settings.grpc_tls_ca, "grpc_tls", common
        )
        return None if files is None else cls(files)

    def reload(self) -> None:
        """Read the files again.

        Raises:
            ConfigurationError: one cannot be read or used; the old ones stay in use.
        """
        self._newest = self._read()

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return files that were read since the last handshake, or None."""
        newest = self._newest
        if newest is self._used:
            return None
        self._used = newest
        return newest

    def _read(self) -> grpc.ServerCertificateConfiguration:
        cert, key, ca = self._files.cert, self._files.key, self._files.ca
        # gRPC does not report an invalid file, and refuses each handshake later: try them first.
        tls_context(cert, key, ca, setting=self._files.setting)
        key_and_chain = Path(key or cert).read_bytes(), Path(cert).read_bytes()
        authorities = None if ca is None else Path(ca).read_bytes()
        return grpc.ssl_server_certificate_configuration([key_and_chain], root_certificates=authorities)
