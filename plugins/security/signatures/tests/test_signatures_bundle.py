"""Bundles: what model-signing wrote is read, and what is not exactly that is refused."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from signing import KEY, PEM, sign_statement, statement_of

from mlsrv.errors import ConfigurationError
from mlsrv_signatures.bundle import InvalidBundle, read_bundle
from mlsrv_signatures.trust import Trust, fingerprint, read_keys

TRUST = Trust([KEY.public_key()])
DATA = Path(__file__).parent / "data"
"""A model that ``model_signing sign key`` of model-signing 1.1.1 has signed, and the public key."""


def test_a_signature_of_model_signing_itself() -> None:
    text = (DATA / "signed-model/model.sig").read_bytes()
    keys = read_keys(DATA / "public.pem")
    found = read_bundle(text, Trust(keys))
    # The bundle has the digest of its key as a hint.
    assert json.loads(text)["verificationMaterial"]["publicKey"]["hint"] == fingerprint(keys[0])
    assert found.signer == f"key {fingerprint(keys[0])[:16]}"
    assert found.digests == {
        name: hashlib.sha256((DATA / "signed-model" / name).read_bytes()).hexdigest()
        for name in ("model-settings.json", "notes.txt", "weights/w.bin")
    }


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda one: one.name)
def test_each_curve(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    text = sign_statement(statement_of({"a": "0" * 64}), key)
    assert read_bundle(text, Trust([KEY.public_key(), key.public_key()])).digests == {"a": "0" * 64}
    with pytest.raises(InvalidBundle, match="none of the keys"):
        read_bundle(text, TRUST)


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"dsseEnvelope": {"payloadType": 1}}'],
    ids=range(6),
)
def test_texts_that_are_no_bundles(text: bytes) -> None:
    with pytest.raises(InvalidBundle):
        read_bundle(text, TRUST)


def test_a_changed_payload_is_not_signed() -> None:
    bundle = json.loads(sign_statement(statement_of({"a": "0" * 64})))
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b'"a"', b'"b"')
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(InvalidBundle, match="none of the keys"):
        read_bundle(json.dumps(bundle).encode(), TRUST)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda one: one.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda one: one["predicate"]["serialization"].update(method="shards"),
        lambda one: one["predicate"]["resources"][0].update(algorithm="md5"),
        lambda one: one["predicate"]["resources"][0].update(digest="0"),
        lambda one: one["predicate"]["resources"][0].update(name="../a"),
        lambda one: one["predicate"]["resources"][0].update(name="/a"),
        lambda one: one["predicate"]["resources"][0].update(name="a//b"),
        lambda one: one["predicate"]["resources"][0].update(name="a\\b"),
        lambda one: one["predicate"]["resources"][0].update(name=7),
        lambda one: one["predicate"].update(resources=one["predicate"]["resources"] * 2),
        lambda one: one["subject"][0].update(digest={"sha256": "1" * 64}),
        lambda one: one.pop("subject"),
        lambda one: one.clear(),
    ],
    ids=range(14),
)
def test_other_statements_are_refused_even_if_they_are_signed(change: Callable[[Any], None]) -> None:
    statement = statement_of({"a": "0" * 64})
    change(statement)
    with pytest.raises(InvalidBundle, match="is not one of model signing"):
        read_bundle(sign_statement(statement), TRUST)


def test_files_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    path.write_bytes(b"# who may sign\n" + PEM + PEM)
    assert len(read_keys(path)) == 2
    private = rsa.generate_private_key(65537, 2048).public_key()
    other = private.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for wrong in (b"", b"x", other, PEM + other, PEM.replace(b"A", b"B")):
        path.write_bytes(wrong)
        with pytest.raises(ConfigurationError, match="expected public keys of elliptic curves"):
            read_keys(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_keys(tmp_path / "absent.pem")
