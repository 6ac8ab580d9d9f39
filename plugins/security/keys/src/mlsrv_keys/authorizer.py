"""Authorizer: finds the principal of a request by its key, its token or its certificate."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from attrs import frozen

from mlsrv.authorization import AccessRequest, Authorizer, Limits, Principal
from mlsrv.errors import ConfigurationError, Unauthenticated
from mlsrv.kernel_api import KernelAPI
from mlsrv.threads import run_in_own_thread
from mlsrv_keys.key_file import PREFIX, Key, read_keys, split_key, stamp_of
from mlsrv_keys.rights import parse_rights
from mlsrv_keys.settings import KeysSettings
from mlsrv_keys.tokens import Tokens

logger = logging.getLogger("mlsrv.keys")

LOOK_SECONDS = 0.5
"""Seconds between two looks at the files."""

_BEARER = "bearer "
_USUAL = "Bearer "
_MISSING = "This server needs a key: send the header Authorization: Bearer KEY."
_WRONG = "The key is wrong, has expired or was revoked."


@frozen(eq=False)
class _Known:
    """A key, and the principal that it stands for."""

    key: Key
    principal: Principal


class KeysAuthorizer(Authorizer):
    """Knows principals by API key, JSON Web Token or client certificate; takes changes of its files while it
    is entered.

    Args:
        settings: name the files, and rights.

    Raises:
        ConfigurationError: a file cannot be read, or is wrong.
    """

    def __init__(self, settings: KeysSettings) -> None:
        self._path = None if settings.keys_file is None else Path(settings.keys_file)
        self._header = None if settings.keys_header is None else settings.keys_header.lower()
        self.credential_headers = frozenset({"authorization", self._header or "authorization"})
        self._stamp: object = None
        self._keys: dict[str, _Known] = {}
        self._verified: dict[str, _Known] = {}
        self._tokens = Tokens(settings) if settings.uses_tokens else None
        self._anonymous = (
            Principal("anonymous", parse_rights(settings.keys_anonymous), anonymous=True)
            if settings.keys_anonymous
            else None
        )
        self._certificates = {
            name: Principal(name, parse_rights(rights))
            for name, rights in settings.certificate_rights.items()
        }
        # Compared with in place of an unknown key, so that it takes as long as a wrong secret.
        self._nobody, _ = Key.make("nobody", {})
        self._watching: list[asyncio.Task[None]] = []
        if self._path is not None:
            self._stamp = stamp_of(self._path)
            self._keys = _read(self._path)

    async def __aenter__(self) -> KeysAuthorizer:
        if self._tokens is not None:
            await self._tokens.refresh()
        # One for each, so that keys are revoked in time whatever the server of a key set does.
        self._watching = [
            asyncio.create_task(self._watch(look)) for look in (self._look, self._look_at_tokens)
        ]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        watching, self._watching = self._watching, []
        for task in watching:
            task.cancel()
        if watching:
            await asyncio.wait(watching)

    def close(self) -> None:
        """Do nothing: the kernel has left the authorizer by then."""

    async def authorize(self, access: AccessRequest) -> Principal:
        usual = access.headers.get("authorization") if self._header is None else None
        known = None if usual is None else self._verified.get(usual)
        if known is not None:  # the most usual form, in which a right key came before
            return _unexpired(known)
        text = self._credentials(access)
        if text is None:
            principal = self._certificates.get(access.certificate.get("commonName", ""), self._anonymous)
            if principal is None:
                raise Unauthenticated(_MISSING)
            return principal
        if self._tokens is not None and not text.startswith(f"{PREFIX}_"):
            return await self._tokens.principal(text)
        return _unexpired(self._verified.get(_USUAL + text) or self._verify(text))

    def _verify(self, text: str) -> _Known:
        """Return what is known of a key. Raises `Unauthenticated` if that is nothing."""
        parts = split_key(text)
        key_id, secret = parts if parts is not None else ("", "")
        known = self._keys.get(key_id)
        matches = (known.key if known is not None else self._nobody).matches(secret)
        if known is None or not matches:
            raise Unauthenticated(_WRONG)
        # As many as there are keys, and none that was not right.
        self._verified[_USUAL + text] = known
        return known

    def _credentials(self, access: AccessRequest) -> str | None:
        """Return the key or the token of a request; None without one.

        Raises:
            Unauthenticated: its header Authorization has another scheme.
        """
        if self._header is not None and self._header in access.headers:
            return access.headers[self._header].strip()
        text = access.headers.get("authorization")
        if text is None:
            return None
        if text[: len(_BEARER)].lower() != _BEARER:
            raise Unauthenticated(_MISSING)
        return text[len(_BEARER) :].strip()

    async def _watch(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await look()
            except ConfigurationError as error:
                logger.error("%s; the keys that were read before stay in use", error)
            except Exception:  # whatever it is, the next look may be better
                logger.exception("The keys that were read before stay in use")

    async def _look_at_tokens(self) -> None:
        if self._tokens is not None and self._tokens.is_due:
            await self._tokens.refresh()

    async def _look(self) -> None:
        if self._path is None:
            return
        stamp = await run_in_own_thread(stamp_of, self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            self._keys = await run_in_own_thread(_read, self._path)
            self._verified = {}
            logger.info("%d keys were read from %s", len(self._keys), self._path)


def authorizer_of(kernel: KernelAPI) -> KeysAuthorizer:
    """Return the authorizer of a kernel, which its hooks share. Raises `ConfigurationError`."""
    return kernel.shared.get(KeysAuthorizer, lambda: KeysAuthorizer(kernel.settings.of(KeysSettings)))


def _unexpired(known: _Known) -> Principal:
    if known.key.expires is not None and known.key.expires <= time.time():
        raise Unauthenticated(_WRONG)
    return known.principal


def _read(path: Path) -> dict[str, _Known]:
    return {
        key_id: _Known(key, Principal(key.name, key.rights, limits=_limits(key)))
        for key_id, key in read_keys(path).items()
    }


def _limits(key: Key) -> Limits | None:
    """Return the limits of a key, or None where it has none: then no request need be compared with them."""
    return None if key.limits == Limits() else key.limits
