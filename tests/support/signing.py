"""Signing: what ``model-signing`` does with a key, for models that the tests make."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


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


def sign_statement(statement: Any, key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    """Return the bundle of a statement."""
    kind, payload = b"application/vnd.in-toto+json", json.dumps(statement).encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    signature = key.sign(signed, ec.ECDSA(_HASHES[key.key_size]))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind.decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    return json.dumps({"dsseEnvelope": envelope}).encode()


def sign_folder(folder: Path, key: ec.EllipticCurvePrivateKey = KEY) -> None:
    """Sign every file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "model.sig")
    digests = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    (folder / "model.sig").write_bytes(sign_statement(statement_of(digests), key))
