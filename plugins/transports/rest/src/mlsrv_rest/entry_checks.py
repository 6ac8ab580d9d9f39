"""Entry checks: refusals by address, by name of the host and by site of a page, for every client alike.

A browser lets any page send requests to any address. It names the page's site in the header ``Origin`` of a
request that may change something, and a page whose name leads to this machine (DNS rebinding) in ``Host``.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from mlsrv.authorization import Action
from mlsrv.errors import PermissionDenied
from mlsrv.settings import KernelSettings
from mlsrv.telemetry.error_details import is_loopback
from mlsrv_rest.settings import RestSettings

_CONTROL: Final = ("repository", "admin")
_HARMLESS: Final = ("GET", "HEAD", "OPTIONS")


class EntryChecks:
    """Refuses requests by their address and by the site that they come from.

    Args:
        settings: of REST.
        common: of the kernel.
        is_admin: whether this is the admin port.

    Attributes:
        are_limited: whether requests without an ``Origin`` must be checked, too.
    """

    def __init__(self, settings: RestSettings, common: KernelSettings, *, is_admin: bool) -> None:
        self._names = frozenset(name.lower() for name in settings.http_allowed_hosts)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.http_control_origins)
        host = (common.admin_host or common.host) if is_admin else common.host
        self._is_private = is_loopback(host)
        self._without_control = common.admin_port is not None and not is_admin
        self.are_limited = bool(self._names) or self._without_control

    def check(self, method: str, headers: Mapping[str, str], action: Action | None) -> None:
        """Raise if a request may not come in here.

        Raises:
            PermissionDenied: the sentence says why.
        """
        host = headers.get("host", "")
        if self._names and not self._is_known(host):
            raise PermissionDenied(f"This server has no name {host[:200]!r} in http_allowed_hosts.")
        if action not in _CONTROL:
            return
        if self._without_control:
            raise PermissionDenied("Control calls are taken at the admin address of this server only.")
        origin = headers.get("origin")
        if origin is None or method in _HARMLESS or origin.lower() in self._origins:
            return
        scheme, _, site = origin.lower().partition("://")
        if scheme not in ("http", "https") or site != host.lower():
            raise PermissionDenied("Control calls from pages of other sites are refused.")
        if self._is_private and not self._is_known(host):
            raise PermissionDenied(
                f"This server is not known as {host[:200]!r}; pages may control it as localhost, by its "
                "address, or by a name in http_allowed_hosts."
            )

    def _is_known(self, host: str) -> bool:
        """Return whether a header ``Host`` certainly names this server: no other site can have the name."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or is_loopback(name) or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
