"""Redaction: secrets in settings and in texts, masked for what is printed or logged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import attrs

MASK = "***"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = {
    "apikey",
    "auth",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "pwd",
    "secret",
    "secrets",
    "token",
}
_KINDS_OF_KEYS = {"access", "account", "api", "private", "signing"}

_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,30}://)(?:([^\s/?#@:'\"<>]{0,200}):)?([^\s/?#'\"<>]{1,500})@")
_ASSIGNED = re.compile(
    r"(?i)((?:\b|_)(?:api[_-]?key|access[_-]?key|auth|passphrase|passwd|password|pwd|secret|token)"
    r"(?:=|[\"']\s*:\s*|=[\"'])[\"']?)([^\s\"',;&)}\]]+)"
)
_KEY = re.compile(r"\b(mlsrv_[0-9a-f]{16}_)[A-Za-z0-9_-]{20,}")
_HEADER = re.compile(r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?(?:bearer |basic )?)[^\s\"',;)}\]]+")


def is_secret(name: str) -> bool:
    """Return whether values of this name are secrets by its words: ``api_token``, ``db-password``,
    ``accessKey``, …"""
    words = [word.lower() for word in _WORD.findall(name)]
    keys = any(second == "key" and first in _KINDS_OF_KEYS for first, second in pairwise(words))
    return keys or not _SECRET_WORDS.isdisjoint(words)


def redacted(value: Any, name: str = "", *, secret: bool = False) -> Any:
    """Return a value of a setting for others to see.

    Args:
        value: plain data, or an instance of a settings class.
        name: of the setting or the key; "" for none.
        secret: whether the whole value is a secret, whatever its name.

    Returns:
        `MASK` for a secret that is set; else plain data in which the values of secret keys and the
        credentials of URLs are masked.
    """
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return value
    if secret or is_secret(name):
        return MASK
    if isinstance(value, str):
        return without_secrets(value)
    if attrs.has(type(value)):
        return {
            field.name: redacted(
                getattr(value, field.name), field.name, secret=bool(field.metadata.get("secret"))
            )
            for field in attrs.fields(type(value))
        }
    if isinstance(value, Mapping):
        return {key: redacted(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def without_secrets(text: str) -> str:
    """Return a text without the credentials of URLs (``scheme://user:***@host``), without values that are
    assigned to names of secrets (``token=***``), and without secrets of API keys (``mlsrv_ID_SECRET``)."""
    if "@" in text and "://" in text:
        text = _USER.sub(_masked_user, text)
    if "=" in text or ":" in text:
        text = _ASSIGNED.sub(rf"\1{MASK}", text)
        text = _HEADER.sub(rf"\1{MASK}", text)
    if "mlsrv_" in text:
        text = _KEY.sub(rf"\1{MASK}", text)
    return text


def _masked_user(found: re.Match[str]) -> str:
    scheme, user, _ = found.groups()
    return f"{scheme}{MASK}@" if user is None else f"{scheme}{user}:{MASK}@"
