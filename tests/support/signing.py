"""Signing: what ``model-signing`` does with a key, for models that the tests make."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

DAY = timedelta(days=1)

_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


def certify(
    name: str,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    *,
    authority: bool = False,
    path_length: int | None = None,
    days: tuple[int, int] = (-1, 1),
    purposes: Sequence[x509.ObjectIdentifier] = (x509.ExtendedKeyUsageOID.CODE_SIGNING,),
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a certificate and its key: of an authority, or of a signer; without an issuer its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(True, path_length), True)
    elif purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def statement_of(digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the statement about files by name."""
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests.values())).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": whole}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [
                {"name": name, "digest": digest, "algorithm": "sha256"} for name, digest in digests.items()
            ],
        },
    }


def sign_statement(
    statement: Any, key: ec.EllipticCurvePrivateKey = KEY, chain: Sequence[x509.Certificate] = ()
) -> bytes:
    """Return the bundle of a statement, with the certificates of its signer."""
    kind, payload = b"application/vnd.in-toto+json", json.dumps(statement).encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    signature = key.sign(signed, ec.ECDSA(_HASHES[key.key_size]))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind.decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    certificates = [{"rawBytes": base64.b64encode(one.public_bytes(Encoding.DER)).decode()} for one in chain]
    material = {"x509CertificateChain": {"certificates": certificates}} if chain else {}
    return json.dumps({"verificationMaterial": material, "dsseEnvelope": envelope}).encode()


def sign_folder(
    folder: Path, key: ec.EllipticCurvePrivateKey = KEY, chain: Sequence[x509.Certificate] = ()
) -> None:
    """Sign every file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "model.sig")
    digests = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    (folder / "model.sig").write_bytes(sign_statement(statement_of(digests), key, chain))
