"""SASL: the side of a broker, for each mechanism that clients are tested with.

A mechanism makes one conversation for each connection: a generator that is sent what the client says, yields
what is answered, and in the end returns whether the client is let in, with a last answer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Generator
from typing import Protocol, TypeAlias

Conversation: TypeAlias = Generator[bytes, bytes, tuple[bool, bytes]]

_ROUNDS = 4096


class Mechanism(Protocol):
    """A way to say who one is."""

    name: str

    def converse(self, said: bytes) -> Conversation:
        """Answer a client, whose first message is `said`."""


class Plain:
    """Name and password as they are (RFC 4616)."""

    name = "PLAIN"

    def __init__(self, user: str, password: str) -> None:
        self._secret = f"\0{user}\0{password}".encode()

    def converse(self, said: bytes) -> Conversation:
        yield from ()  # there is nothing to ask back
        return said == self._secret, b""


class Scram:
    """Proof that a client knows a password, which is not sent (RFC 5802)."""

    name = "SCRAM-SHA-512"

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._salt = os.urandom(16)
        salted = hashlib.pbkdf2_hmac("sha512", password.encode(), self._salt, _ROUNDS)
        self._client_key = hmac.digest(salted, b"Client Key", "sha512")
        self._server_key = hmac.digest(salted, b"Server Key", "sha512")

    def converse(self, said: bytes) -> Conversation:
        bare = said.removeprefix(b"n,,")
        first = _fields(bare)
        nonce = first[b"r"] + base64.b64encode(os.urandom(18))
        challenge = b"r=%b,s=%b,i=%d" % (nonce, base64.b64encode(self._salt), _ROUNDS)
        final = yield challenge
        given = _fields(final)
        signed = b",".join((bare, challenge, final.rpartition(b",p=")[0]))
        stored = hashlib.sha512(self._client_key).digest()
        signature = hmac.digest(stored, signed, "sha512")
        proof = bytes(a ^ b for a, b in zip(self._client_key, signature, strict=True))
        is_right = base64.b64decode(given[b"p"]) == proof
        is_right &= first[b"n"] == self._user.encode() and given[b"r"] == nonce
        answer = b"v=" + base64.b64encode(hmac.digest(self._server_key, signed, "sha512"))
        return is_right, answer if is_right else b""


class Bearer:
    """A token that a third party has given out (RFC 7628)."""

    name = "OAUTHBEARER"

    def __init__(self, token: str) -> None:
        self._token = token

    def converse(self, said: bytes) -> Conversation:
        yield from ()
        return f"auth=Bearer {self._token}".encode() in said.split(b"\1"), b""


def _fields(message: bytes) -> dict[bytes, bytes]:
    return {part[:1]: part[2:] for part in message.split(b",")}
