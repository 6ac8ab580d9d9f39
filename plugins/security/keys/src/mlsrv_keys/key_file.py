"""Key file: the API keys of a server, each with a salted hash in place of its secret."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from hmac import compare_digest
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from mlsrv.authorization import Limits
from mlsrv.errors import ConfigurationError
from mlsrv_keys.rights import Rights, parse_rights

PREFIX = "mlsrv"
LONGEST_KEY = 200
"""Characters of a text that may be a key."""

_FIELDS = {"name", "id", "salt", "hash", "rights", "expires", *Limits.__annotations__}


@frozen
class Key:
    """One API key, without its secret.

    Attributes:
        name: of the principal.
        id: the public part of the key, by which it is found.
        salt, hash: of the secret part, hexadecimal; the hash is SHA-256 of both. A secret has 256 random
            bits, so that no slow hash is needed.
        rights: as for a principal.
        expires: seconds since the epoch, or None.
        limits: as for a principal.
    """

    name: str
    id: str
    salt: str = field(repr=False)
    hash: str = field(repr=False)
    rights: Rights
    expires: float | None = None
    limits: Limits = field(factory=Limits)

    @classmethod
    def make(
        cls, name: str, rights: Rights, expires: float | None = None, limits: Limits | None = None
    ) -> tuple[Key, str]:
        """Return a new key, and its text, which is kept nowhere."""
        key_id, salt, secret = secrets.token_hex(8), secrets.token_hex(16), secrets.token_urlsafe(32)
        made = cls(name, key_id, salt, _hash(salt, secret), rights, expires, limits or Limits())
        return made, f"{PREFIX}_{key_id}_{secret}"

    def matches(self, secret: str) -> bool:
        """Return whether this is the secret part of the key, in the same time for every wrong one."""
        return compare_digest(_hash(self.salt, secret), self.hash)

    def until(self, expires: float) -> Key:
        """Return the key with an earlier end, if it has none before."""
        return evolve(self, expires=expires if self.expires is None else min(expires, self.expires))


def split_key(text: str) -> tuple[str, str] | None:
    """Return the id and the secret of a key, or None for a text that is none."""
    if len(text) > LONGEST_KEY:
        return None
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    return (key_id, secret) if prefix == PREFIX and key_id and secret else None


def read_keys(path: Path) -> dict[str, Key]:
    """Return the keys of a file by id.

    Raises:
        ConfigurationError: the file cannot be read, or breaks the form; one sentence says where.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(plain, dict) or not isinstance(plain.get("keys"), list) or len(plain) != 1:
            raise ValueError('expected an object {"keys": […]}')
        keys = [_parse(entry, f"keys[{index}]") for index, entry in enumerate(plain["keys"])]
    except OSError as error:
        raise ConfigurationError(f"keys_file {path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        # The text of a wrong file is not repeated: it may hold secrets.
        reason = "it is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise ConfigurationError(f"keys_file {path}: {reason}") from None
    found = {key.id: key for key in keys}
    if len(found) != len(keys):
        raise ConfigurationError(f"keys_file {path}: two keys have one id")
    return found


def write_keys(path: Path, keys: dict[str, Key]) -> None:
    """Write a file of keys at once, readable for its owner alone. Raises `ConfigurationError`."""
    plain = {"keys": [_plain(key) for key in keys.values()]}
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps(plain, indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"keys_file {path}: cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def changing(path: Path) -> Iterator[dict[str, Key]]:
    """Read a file of keys, which need not exist, and write what the block made of them. Two that do so wait
    for each other. Raises `ConfigurationError`."""
    import fcntl

    try:
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"keys_file {path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read_keys(path) if path.exists() else {}
        before = dict(keys)
        yield keys
        if keys != before:
            write_keys(path, keys)
    finally:
        os.close(lock)


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode("utf-8", "surrogatepass")).hexdigest()


def _parse(entry: Any, where: str) -> Key:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object")
    unknown = sorted(set(entry) - _FIELDS)
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r}")
    for name in ("name", "id", "salt", "hash"):
        if not isinstance(entry.get(name), str) or not entry[name]:
            raise ValueError(f"{where}.{name}: expected a text")
    limits = {name: _number(entry, name, where) for name in Limits.__annotations__ if name != "priority"}
    priority = _number(entry, "priority", where) or 0
    return Key(
        entry["name"],
        entry["id"],
        entry["salt"],
        entry["hash"],
        parse_rights(entry.get("rights", {}), f"{where}.rights"),
        parse_time(entry["expires"], f"{where}.expires") if entry.get("expires") is not None else None,
        Limits(**limits, priority=int(priority)),
    )


def _number(entry: dict[str, Any], name: str, where: str) -> Any:
    value = entry.get(name)
    whole = name in ("in_flight", "in_flight_bytes", "priority")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not value > 0:
        raise ValueError(f"{where}.{name}: expected a {'whole ' if whole else ''}number above 0")
    return value


def _plain(key: Key) -> dict[str, Any]:
    limits = {name: getattr(key.limits, name) for name in Limits.__annotations__}
    return {
        "name": key.name,
        "id": key.id,
        "salt": key.salt,
        "hash": key.hash,
        "rights": {action: list(models) for action, models in key.rights.items()},
        **({"expires": format_time(key.expires)} if key.expires is not None else {}),
        **{name: value for name, value in limits.items() if value},
    }


def parse_time(text: Any, where: str) -> float:
    """Return the seconds since the epoch of an ISO 8601 time, UTC if it has no zone. Raises `ValueError`."""
    try:
        found = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise ValueError(f'{where}: expected a time such as "2030-12-31T23:59:59Z"') from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def format_time(seconds: float) -> str:
    """Return a time in ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def stamp_of(path: Path) -> object:
    """Return what changes when a file does; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
