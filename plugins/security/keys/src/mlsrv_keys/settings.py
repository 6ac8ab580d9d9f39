"""Settings: who is known, and with which rights."""

from __future__ import annotations

import re
from typing import Any

from mlsrv.settings import setting, settings_class

_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


@settings_class
class KeysSettings:
    """Server settings. Requests are checked once keys, tokens or certificates are configured."""

    keys_file: str | None = setting(
        None, help="File of API keys, as `mlsrv keys` writes it; changes are taken at once.", path=True
    )
    keys_header: str | None = setting(
        None, help='Header that may hold the key instead of "Authorization: Bearer", such as "x-api-key".'
    )
    keys_anonymous: dict[str, Any] = setting(
        factory=dict,
        help='Rights of requests without credentials, such as {"health": ["*"]}.',
    )
    certificate_rights: dict[str, Any] = setting(
        factory=dict,
        help="Rights of client certificates by the common name of their subject.",
    )
    jwt_jwks: str | None = setting(
        None,
        help="File with the JSON Web Key Set that tokens are signed with; changes are taken at once.",
        path=True,
    )
    jwt_jwks_url: str | None = setting(
        None, help="Address of the key set (https://), in place of a file; see jwt_refresh."
    )
    jwt_issuer: str | None = setting(None, help="Issuer that tokens must name (claim iss).")
    jwt_audience: str | None = setting(None, help="Audience that tokens must name (claim aud).")
    jwt_algorithms: list[str] = setting(
        factory=lambda: ["RS256", "ES256"], help="Algorithms of signatures that are accepted."
    )
    jwt_leeway: float = setting(60.0, help="Seconds by which clocks may differ.", at_least=0)
    jwt_refresh: float = setting(
        300.0, help="Seconds after which the key set is read from its address again.", at_least=1
    )
    jwt_name_claim: str = setting("sub", help="Claim that names the principal.")
    jwt_rights_claim: str = setting(
        "mlsrv", help="Claim that has the rights, in the form of a key's; a token without it has none."
    )

    def __attrs_post_init__(self) -> None:
        if self.keys_header is not None and not _HEADER.fullmatch(self.keys_header.lower()):
            raise ValueError(f"keys_header: expected the name of a header, got {self.keys_header!r}")
        # Not before there are settings to check: a plugin must be light to import.
        from mlsrv_keys.rights import parse_rights

        parse_rights(self.keys_anonymous, "keys_anonymous")
        for name, rights in self.certificate_rights.items():
            parse_rights(rights, f"certificate_rights.{name}")
        wrong = [name for name in self.jwt_algorithms if name not in _ALGORITHMS]
        if wrong or not self.jwt_algorithms:
            raise ValueError(f"jwt_algorithms: expected some of {', '.join(_ALGORITHMS)}, got {wrong}")
        if self.jwt_jwks_url is not None and not self.jwt_jwks_url.startswith("https://"):
            raise ValueError("jwt_jwks_url: expected an https:// address: others can be forged")
        if self.jwt_jwks is not None and self.jwt_jwks_url is not None:
            raise ValueError("jwt_jwks_url: expected none, because jwt_jwks names a file")
        if self.uses_tokens and (self.jwt_issuer is None or self.jwt_audience is None):
            raise ValueError("jwt_issuer, jwt_audience: expected both, because tokens are configured")

    @property
    def uses_tokens(self) -> bool:
        """True if there is a key set for tokens."""
        return self.jwt_jwks is not None or self.jwt_jwks_url is not None

    @property
    def is_used(self) -> bool:
        """True if these settings ask for an authorizer."""
        return self.keys_file is not None or self.uses_tokens or bool(self.certificate_rights)
