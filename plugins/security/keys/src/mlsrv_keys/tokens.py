"""Tokens: JSON Web Tokens, signed with a key of a JSON Web Key Set."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import OrderedDict
from pathlib import Path

import jwt

from mlsrv.authorization import Principal
from mlsrv.errors import ConfigurationError, Unauthenticated
from mlsrv.threads import run_in_own_thread
from mlsrv_keys.key_file import stamp_of
from mlsrv_keys.key_sets import fetch_set, read_set
from mlsrv_keys.rights import parse_rights
from mlsrv_keys.settings import KeysSettings

logger = logging.getLogger("mlsrv.keys")

CACHED = 10_000
"""Tokens whose signatures are not checked again while they are valid."""
LONGEST_TOKEN = 16_384
EARLY_SECONDS = 10.0
"""Seconds after which a key set is read again for a token that names a key which is not in it."""

_WRONG = "The token is wrong or has expired."


class Tokens:
    """Finds the principals of tokens.

    Args:
        settings: name the key set, and what tokens must say.

    Raises:
        ConfigurationError: the file of the key set cannot be read, or is wrong.
    """

    def __init__(self, settings: KeysSettings) -> None:
        self._settings = settings
        self._source = settings.jwt_jwks_url or settings.jwt_jwks or ""
        self._is_remote = settings.jwt_jwks_url is not None
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at = 0.0
        self._lacks_a_key = False
        self._stamp: object = None
        self._cache: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        if not self._is_remote:
            self._take(read_set(self._source))
            self._stamp = self._newest_stamp()

    @property
    def is_due(self) -> bool:
        """True if the key set should be read again."""
        if self._is_remote:
            age = time.monotonic() - self._read_at
            return age >= self._settings.jwt_refresh or (self._lacks_a_key and age >= EARLY_SECONDS)
        return self._newest_stamp() != self._stamp

    async def refresh(self) -> None:
        """Read the key set again. One that cannot be read leaves the one before, and is logged.

        Raises:
            ConfigurationError: there is none before.
        """
        self._read_at = time.monotonic()
        self._lacks_a_key = False
        self._stamp = self._newest_stamp()
        try:
            read = fetch_set if self._is_remote else read_set
            self._take(await run_in_own_thread(read, self._source))
        except ConfigurationError as error:
            if not self._keys:
                raise
            logger.error("%s; the keys that were read before stay in use", error)

    async def principal(self, token: str) -> Principal:
        """Return the principal of a token.

        Raises:
            Unauthenticated: its signature or its claims are wrong, or it has expired.
        """
        if len(token) > LONGEST_TOKEN:
            raise Unauthenticated(_WRONG)
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        cached = self._cache.get(digest)
        if cached is not None and time.time() < cached[1]:
            self._cache.move_to_end(digest)
            return cached[0]
        principal, end = self._check(token)
        self._cache[digest] = principal, end
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return principal

    def _check(self, token: str) -> tuple[Principal, float]:
        settings = self._settings
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                self._lacks_a_key = True
                raise Unauthenticated(_WRONG)
            claims = jwt.decode(
                token,
                key,
                algorithms=settings.jwt_algorithms,
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                leeway=settings.jwt_leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
            name = claims.get(settings.jwt_name_claim)
            rights = parse_rights(claims.get(settings.jwt_rights_claim, {}))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            logger.debug("A token was refused: %s", type(error).__name__)
            raise Unauthenticated(_WRONG) from None
        if not isinstance(name, str) or not name:
            raise Unauthenticated(_WRONG)
        return Principal(name[:200], rights), float(claims["exp"]) + settings.jwt_leeway

    def _take(self, text: bytes) -> None:
        try:
            found = jwt.PyJWKSet.from_dict(json.loads(text)).keys
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(
                f"jwt_jwks {self._source}: is not a JSON Web Key Set ({type(error).__name__})"
            ) from None
        symmetric = [key for key in found if key.key_type == "oct"]
        if symmetric:
            raise ConfigurationError(f"jwt_jwks {self._source}: has a symmetric key, which clients could use")
        self._keys = {key.key_id: key for key in found}
        self._cache.clear()

    def _newest_stamp(self) -> object:
        return None if self._is_remote else stamp_of(Path(self._source))
