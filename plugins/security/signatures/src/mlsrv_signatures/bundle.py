"""Bundle: a signature as ``model-signing`` writes it, and the digests that it vouches for.

Source: OpenSSF model signing v1.0: a Sigstore bundle v0.3 with a DSSE envelope of an in-toto statement v1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from mlsrv_signatures.trust import NotTrusted, Trust

LONGEST_BUNDLE = 2**26
"""Bytes of a signature; it has about 150 for each file."""

_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class InvalidBundle(Exception):
    """The signature is wrong, or no trusted signer has made it; the text says why."""


@frozen
class Signed:
    """The digests that a bundle vouches for.

    Attributes:
        digests: SHA-256 digest of each file by its name.
        signer: who has signed.
    """

    digests: Mapping[str, str]
    signer: str


def read_bundle(text: bytes, trust: Trust) -> Signed:
    """Return what a bundle vouches for, once its signature is verified.

    Args:
        text: the bundle.
        trust: who may sign.

    Raises:
        InvalidBundle: the bundle is malformed, or none of them has made it.
    """
    try:
        bundle = json.loads(text)
        envelope = bundle["dsseEnvelope"]
        kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]]
        material = bundle.get("verificationMaterial") or {}
        certificates = (material.get("x509CertificateChain") or {}).get("certificates", ())
        chain = [base64.b64decode(one["rawBytes"], validate=True) for one in certificates]
        keyless = "certificate" in material
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidBundle("it is not a Sigstore bundle with a DSSE envelope") from None
    if keyless:
        raise InvalidBundle(
            "it is keyless, which only the services of Sigstore vouch for; sign with a key or a certificate"
        )
    if kind != _PAYLOAD_TYPE:
        raise InvalidBundle("it does not hold an in-toto statement")
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    try:
        signer = trust.signer(signatures, signed, chain)
    except NotTrusted as error:
        raise InvalidBundle(str(error)) from None
    try:
        return Signed(_digests(json.loads(payload)), signer)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidBundle("its statement is not one of model signing v1.0") from None


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
