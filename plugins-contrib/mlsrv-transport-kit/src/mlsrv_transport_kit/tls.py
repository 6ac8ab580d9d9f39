"""TLS: contexts of servers from files in PEM form, which can be read again while the server runs."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import Any, Protocol

from attrs import frozen

from mlsrv.errors import ConfigurationError

__all__ = ["ServerTLS", "TLSFiles", "subject_of", "tls_context"]


@frozen
class TLSFiles:
    """Files of a server's TLS, and what it accepts; as settings have them.

    Attributes:
        cert, key, ca, setting: as for `tls_context`.
        minimum: the oldest version, ``"1.2"`` or ``"1.3"``.
        ciphers: for TLS 1.2, in the form of OpenSSL; None for its own choice.
    """

    cert: str
    key: str | None
    ca: str | None
    setting: str
    minimum: str = "1.2"
    ciphers: str | None = None

    @classmethod
    def of(
        cls, cert: str | None, key: str | None, ca: str | None, setting: str, common: CommonTLS
    ) -> TLSFiles | None:
        """Return the files of a transport: its own if it has a certificate, else those of all transports, or
        None.

        Args:
            cert, key, ca: of the transport.
            setting: what the names of its settings begin with.
            common: the settings of the kernel.
        """
        more = common.tls_minimum_version, common.tls_ciphers
        if cert is not None:
            return cls(cert, key, ca, setting, *more)
        if common.tls_cert is not None:
            return cls(common.tls_cert, common.tls_key, common.tls_ca, "tls", *more)
        return None

    def context(self) -> ssl.SSLContext:
        """Return the TLS context. Raises as `tls_context`."""
        context = tls_context(self.cert, self.key, self.ca, setting=self.setting)
        if self.minimum == "1.3":
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.ciphers is not None:
            try:
                context.set_ciphers(self.ciphers)
            except ssl.SSLError as error:
                raise ConfigurationError(f"tls_ciphers: no cipher is named by {self.ciphers!r}") from error
        return context


class CommonTLS(Protocol):
    """The settings of the kernel that are for the TLS of every transport."""

    @property
    def tls_cert(self) -> str | None: ...
    @property
    def tls_key(self) -> str | None: ...
    @property
    def tls_ca(self) -> str | None: ...
    @property
    def tls_minimum_version(self) -> str: ...
    @property
    def tls_ciphers(self) -> str | None: ...


def subject_of(tls: ssl.SSLObject | ssl.SSLSocket | None) -> dict[str, str]:
    """Return the subject of a client's certificate, which was verified, by field; empty without one."""
    certificate: Any = None if tls is None else tls.getpeercert()
    parts = (certificate or {}).get("subject", ())
    return {name: value for part in parts for name, value in part}


def tls_context(cert: str, key: str | None, ca: str | None, *, setting: str) -> ssl.SSLContext:
    """Return the TLS context of a server: version 1.2 or later, with client certificates where `ca` is given.

    Args:
        cert: a PEM file with the certificate chain.
        key: a PEM file with its unencrypted private key; None if that is in `cert`.
        ca: a PEM file with the certificates of the authorities that clients' certificates are signed by.
        setting: what the names of the three settings begin with, for messages, for example ``"http_tls"``.

    Raises:
        ConfigurationError: a file cannot be read or used; the sentence has its setting and the reason.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    key = key or cert
    _check_readable(f"{setting}_cert", cert)
    _check_readable(f"{setting}_key", key)
    try:
        # Without a password OpenSSL would ask on the terminal.
        context.load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"{setting}_cert {cert} and {setting}_key {key} are not a certificate chain and "
            f"its unencrypted private key in PEM form: {_reason(error)}"
        ) from error
    if ca is not None:
        _check_readable(f"{setting}_ca", ca)
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"{setting}_ca {ca} holds no certificates in PEM form: {_reason(error)}"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class ServerTLS:
    """TLS of a server whose files can be read again: connections that are made later use the new ones.

    Args:
        files: the files, and what is accepted.
        protocols: to be offered (ALPN), the preferred one first.

    Attributes:
        context: for the listening socket.

    Raises:
        ConfigurationError: as `tls_context`.
    """

    def __init__(self, files: TLSFiles, protocols: Sequence[str] = ()) -> None:
        self._files = files
        self._protocols = list(protocols)
        self._newest = self.context = self._read()
        self.context.sni_callback = self._use_newest

    def reload(self) -> None:
        """Read the files again.

        Raises:
            ConfigurationError: one cannot be read or used; the old ones stay in use.
        """
        self._newest = self._read()

    def _read(self) -> ssl.SSLContext:
        context = self._files.context()
        if self._protocols:
            context.set_alpn_protocols(self._protocols)
        return context

    def _use_newest(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        # Called early in each handshake, also of clients that name no server.
        connection.context = self._newest


def _check_readable(setting: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"{setting}: {os.path.abspath(path)} cannot be read: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)


def _no_password() -> str:
    raise ValueError("the private key is encrypted")
