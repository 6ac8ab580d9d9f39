"""Connection: the options by which commands reach a running server."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import rich_click as click
from attrs import field, frozen

_ENCRYPTED = ("https", "grpcs", "kafkas")


@frozen
class Connection:
    """A server, and how to reach it.

    Attributes:
        url: its address.
        headers: sent with each call.
        verify, cert: as for `mlsrv_protocol.client.Client`.
    """

    url: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    verify: str | bool = True
    cert: str | tuple[str, str] | None = None

    def client(self, timeout: float, *, of: Any = None, **options: Any) -> Any:
        """Return a client of the server.

        Args:
            timeout: seconds for one attempt of a call.
            of: the class: `mlsrv_protocol.client.Client`, which is the default, or `AsyncClient`.
            options: further arguments of the class.

        Raises:
            click.ClickException: a package is missing.
            MLSrvError: the address or the certificates cannot be used.
        """
        from mlsrv_protocol.client import Client

        try:
            return (of or Client)(
                self.url,
                timeout=timeout,
                headers=self.headers,
                verify=self.verify,
                cert=self.cert,
                **options,
            )
        except ImportError as error:
            raise click.ClickException(
                f"{self.url} needs the package {error.name} (pip install {error.name})."
            ) from error

    def headers_for(self, url: str) -> Mapping[str, str]:
        """Return the headers for another address: those of the server if it is on the same host, and no less
        encrypted."""
        here, there = urlsplit(self.url), urlsplit(url)
        is_clear = here.scheme in _ENCRYPTED and there.scheme not in _ENCRYPTED
        return self.headers if there.hostname == here.hostname and not is_clear else {}


class Seconds(click.FloatRange):
    """A range of floats that excludes "nan", which passes every comparison of click."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return found


TIMEOUT = click.option(
    "--timeout",
    type=Seconds(0.0, 86400.0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds to wait for an answer of the server.",
)


def connection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets their values as its argument ``connection``."""

    @functools.wraps(function)
    def call(
        *args: Any,
        url: str,
        ca: str | None,
        insecure: bool,
        key: str | None,
        header: Sequence[str],
        cert: str | None,
        cert_key: str | None,
        **rest: Any,
    ) -> Any:
        verify: str | bool = not insecure
        if not insecure or ca is not None:
            verify = ca or os.environ.get("SSL_CERT_FILE") or True
        headers = _headers(header)
        if key is not None:
            headers["Authorization"] = f"Bearer {_key(key)}"
        if cert is None and cert_key is not None:
            raise click.UsageError("--cert-key: name the certificate, too, with --cert.")
        own = cert if cert is None or cert_key is None else (cert, cert_key)
        return function(*args, connection=Connection(url, headers, verify, own), **rest)

    decorated: Callable[..., Any] = call
    for option in _OPTIONS:
        decorated = option(decorated)
    return decorated


class _Lines(click.ParamType):
    """A text; a variable of the environment may have several, one in a line."""

    name = "text"
    envvar_list_splitter = "\n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)


_FILE = click.Path(exists=True, dir_okay=False)

_OPTIONS = (
    click.option(
        "--cert-key",
        type=_FILE,
        envvar="MLSRV_CLIENT_CERT_KEY",
        show_envvar=True,
        help="PEM file with the private key of --cert, if that does not have it.",
    ),
    click.option(
        "--cert",
        type=_FILE,
        envvar="MLSRV_CLIENT_CERT",
        show_envvar=True,
        help="PEM file with a certificate of your own, and its private key, for servers that ask for one.",
    ),
    click.option(
        "--header",
        type=_Lines(),
        multiple=True,
        metavar="NAME:VALUE",
        envvar="MLSRV_CLIENT_HEADERS",
        show_envvar=True,
        help='Sent with each call, for example "Authorization: Bearer …". May be repeated; in the variable '
        "there is one in a line.",
    ),
    click.option(
        "--key",
        metavar="KEY|@FILE",
        envvar="MLSRV_CLIENT_KEY",
        show_envvar=True,
        help='Sent as "Authorization: Bearer KEY". As @FILE it is read from a file, and no list of processes '
        "shows it.",
    ),
    click.option("--insecure", is_flag=True, help="Do not check the certificate of an https:// server."),
    click.option(
        "--ca",
        type=_FILE,
        envvar="MLSRV_CLIENT_CA",
        show_envvar=True,
        help="PEM file with the authorities that sign the server's certificate.  "
        "[default: SSL_CERT_FILE, else common ones]",
    ),
    click.option(
        "--url",
        "-u",
        default="http://localhost:8080",
        show_default=True,
        envvar="MLSRV_CLIENT_URL",
        show_envvar=True,
        help="The server: http://, https://, grpc:// or grpcs://, host and port; for mlsrv infer also "
        "kafka://HOST:PORT/INPUT/OUTPUT.",
    ),
)


def _headers(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in filter(None, texts):
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or not (name.strip() + value).isprintable():
            raise click.UsageError('--header: expected "NAME: VALUE".')
        found[name.strip()] = value.strip()
    return found


def _key(text: str) -> str:
    """Return the key, read from the file that ``@FILE`` names."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"--key {text}: the file cannot be read ({error}).") from error
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise click.UsageError("--key: a key is one line of printable ASCII characters.")
    return key
