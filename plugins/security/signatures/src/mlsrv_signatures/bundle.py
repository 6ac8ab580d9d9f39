"""Bundle: a signature as ``model-signing`` writes it, and the digests that it vouches for.

Source: OpenSSF model signing v1.0: a Sigstore bundle v0.3 with a DSSE envelope of an in-toto statement v1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mlsrv.errors import ConfigurationError

LONGEST_BUNDLE = 2**26
"""Bytes of a signature; it has about 150 for each file."""

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_PEM = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)
_HASHES: dict[int, hashes.HashAlgorithm] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    512: hashes.SHA512(),
}
_DIGEST = re.compile(r"[0-9a-f]{64}")


class InvalidBundle(Exception):
    """The signature is wrong, or none of the keys has made it; the text says why."""


def read_keys(path: Path) -> list[ec.EllipticCurvePublicKey]:
    """Return the public keys of a PEM file.

    Raises:
        ConfigurationError: it cannot be read, or has something else.
    """
    try:
        blocks = _PEM.findall(path.read_bytes())
        keys = [load_pem_public_key(block) for block in blocks]
    except OSError as error:
        raise ConfigurationError(f"model_signature_keys {path}: cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm):
        keys = []
    found = [key for key in keys if isinstance(key, ec.EllipticCurvePublicKey)]
    if not found or len(found) != len(keys):
        raise ConfigurationError(
            f"model_signature_keys {path}: expected public keys of elliptic curves in PEM form"
        )
    return found


def signed_digests(text: bytes, keys: Iterable[ec.EllipticCurvePublicKey]) -> dict[str, str]:
    """Return the SHA-256 digest of each signed file by its name, once the signature is verified.

    Args:
        text: the bundle.
        keys: of those who may sign; one of them must have.

    Raises:
        InvalidBundle: the bundle is malformed, or none of the keys has made it.
    """
    try:
        envelope = json.loads(text)["dsseEnvelope"]
        kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidBundle("it is not a Sigstore bundle with a DSSE envelope") from None
    if kind != _PAYLOAD_TYPE:
        raise InvalidBundle("it does not hold an in-toto statement")
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    if not any(_is_of(key, one, signed) for key in keys for one in signatures):
        raise InvalidBundle("none of the keys in model_signature_keys has made it")
    try:
        return _digests(json.loads(payload))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidBundle("its statement is not one of model signing v1.0") from None


def _is_of(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    # The hash is as strong as the curve, as model-signing does it.
    strength = next(bits for bits in (256, 384, 512) if key.key_size <= bits or bits == 512)
    try:
        key.verify(signature, signed, ec.ECDSA(_HASHES[strength]))
    except InvalidSignature:
        return False
    return True


def _digests(statement: Any) -> dict[str, str]:
    """Return the digests of a statement. Raises any of the errors of wrong data."""
    predicate = statement["predicate"]
    if statement["_type"] != _STATEMENT or statement["predicateType"] != _PREDICATE:
        raise ValueError("another kind of statement")
    if predicate["serialization"]["method"] != "files":
        raise ValueError("another way to hash a model")
    resources: Sequence[Any] = predicate["resources"]
    found = {}
    for one in resources:
        name, digest = one["name"], one["digest"]
        parts = name.split("/")
        if one["algorithm"] != "sha256" or not _DIGEST.fullmatch(digest):
            raise ValueError("another hash")
        if name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in parts):
            raise ValueError("a name that leaves the folder")
        if name in found:
            raise ValueError("a name that is there twice")
        found[name] = digest
    whole = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    if [subject["digest"] for subject in statement["subject"]] != [{"sha256": whole}]:
        raise ValueError("a digest of the whole that differs")
    return found
