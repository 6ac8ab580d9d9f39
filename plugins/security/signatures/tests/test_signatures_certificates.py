"""Certificates: chains that lead to an authority count, and no others."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from signing import DAY, KEY, certify, sign_statement, statement_of

from mlsrv.errors import ConfigurationError
from mlsrv_signatures.bundle import InvalidBundle, read_bundle
from mlsrv_signatures.certificates import UntrustedCertificate, names_of, signer_of
from mlsrv_signatures.trust import Trust, read_authorities

DATA = Path(__file__).parent / "data"
"""``certificate.sig`` is of ``model_signing sign certificate`` of model-signing 1.1.1."""

Issued = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@pytest.fixture(scope="module")
def root() -> Issued:
    return certify("root", authority=True)


def trusted(authorities: list[Issued], *chain: Issued, now: datetime | None = None) -> x509.Certificate:
    ders = [certificate.public_bytes(Encoding.DER) for certificate, _ in chain]
    return signer_of(ders, [certificate for certificate, _ in authorities], now)


def test_a_bundle_of_model_signing_itself() -> None:
    text = (DATA / "certificate.sig").read_bytes()
    authorities = read_authorities(DATA / "authority.pem")
    found = read_bundle(text, Trust(authorities=authorities))
    assert found.signer == "certificate of Signer of the tests"
    assert set(found.digests) == {"model-settings.json", "notes.txt", "weights/w.bin"}
    assert read_bundle(text, Trust(authorities=authorities, signers=["signer@tests.invalid"])) == found
    with pytest.raises(InvalidBundle, match="is not among model_signature_signers"):
        read_bundle(text, Trust(authorities=authorities, signers=["another"]))
    with pytest.raises(InvalidBundle, match="no model_signature_authorities"):
        read_bundle(text, Trust([KEY.public_key()]))
    with pytest.raises(InvalidBundle, match="none of model_signature_authorities"):
        read_bundle(text, Trust(authorities=[certify("other", authority=True)[0]]))


def test_chains_up_to_an_authority(root: Issued) -> None:
    middle = certify("middle", root, authority=True)
    low = certify("low", middle, authority=True, path_length=0)
    signer = certify("signer", low)
    assert trusted([root], signer, middle, low) == signer[0]
    assert trusted([low], signer) == signer[0]  # an authority need not be at the top
    assert trusted([root], certify("direct", root)) is not None


def refused(name: str, root: Issued) -> tuple[list[Issued], list[Issued]]:
    """Return authorities, and a chain that is refused."""
    limited = certify("limited", authority=True, path_length=0)
    below = certify("below", limited, authority=True)
    ended = certify("ended", authority=True, days=(-5, -1))
    plain = certify("plain", root)
    no_issuer = x509.KeyUsage(True, False, False, False, False, False, True, False, False)
    for_tls = [x509.ExtendedKeyUsageOID.SERVER_AUTH]
    names = x509.NameConstraints([x509.DNSName("a.invalid")], None)
    impostor = certify("root", authority=True)
    chains: dict[str, tuple[list[Issued], list[Issued]]] = {
        "no certificate": ([root], []),
        "too many": ([root], [plain] * 9),
        "its own authority": ([root], [certify("self", authority=True)]),
        "another authority of the same name": ([root], [certify("signer", impostor), impostor]),
        "an issuer is missing": ([root], [certify("s", certify("m", root, authority=True))]),
        "a signer as issuer": ([root], [certify("signer", plain), plain]),
        "a chain that is too long": ([limited], [certify("signer", below), below]),
        "an issuer without the right": (
            [root],
            [certify("s", m := certify("m", root, authority=True, extensions=[(no_issuer, True)])), m],
        ),
        "it has ended": ([root], [certify("late", root, days=(-5, -1))]),
        "it has not begun": ([root], [certify("early", root, days=(1, 5))]),
        "its authority has ended": ([ended], [certify("signer", ended)]),
        "for TLS": ([root], [certify("signer", root, purposes=for_tls)]),
        "for nothing": ([root], [certify("signer", root, purposes=[])]),
        "an unknown critical extension": ([root], [certify("s", root, extensions=[(names, True)])]),
    }
    return chains[name]


@pytest.mark.parametrize(
    "name",
    [
        "no certificate",
        "too many",
        "its own authority",
        "another authority of the same name",
        "an issuer is missing",
        "a signer as issuer",
        "a chain that is too long",
        "an issuer without the right",
        "it has ended",
        "it has not begun",
        "its authority has ended",
        "for TLS",
        "for nothing",
        "an unknown critical extension",
    ],
)
def test_other_chains_are_refused(root: Issued, name: str) -> None:
    authorities, chain = refused(name, root)
    with pytest.raises(UntrustedCertificate):
        trusted(authorities, *chain)


def test_garbage_is_refused(root: Issued) -> None:
    with pytest.raises(UntrustedCertificate, match="cannot be read"):
        signer_of([b"garbage"], [root[0]])


def test_the_time_is_that_of_the_check(root: Issued) -> None:
    signer = certify("signer", root)
    assert trusted([root], signer, now=datetime.now(UTC)) == signer[0]
    with pytest.raises(UntrustedCertificate, match="not valid at this time"):
        trusted([root], signer, now=datetime.now(UTC) + 3 * DAY)


def test_a_chain_of_another_signer_does_not_help(root: Issued) -> None:
    signer = certify("signer", root)
    text = sign_statement(statement_of({"a": "0" * 64}), KEY, [signer[0]])
    with pytest.raises(InvalidBundle, match="the holder of its certificate has not made it"):
        read_bundle(text, Trust(authorities=[root[0]]))
    # Nor does a key that may sign, where a certificate comes with the signature.
    with pytest.raises(InvalidBundle, match="no model_signature_authorities"):
        read_bundle(text, Trust([KEY.public_key()]))


def test_keyless_bundles_say_what_to_do() -> None:
    bundle = json.loads(sign_statement(statement_of({"a": "0" * 64})))
    bundle["verificationMaterial"] = {"certificate": {"rawBytes": ""}, "tlogEntries": []}
    with pytest.raises(InvalidBundle, match=r"it is keyless, .*; sign with a key or a certificate"):
        read_bundle(json.dumps(bundle).encode(), Trust([KEY.public_key()]))


@pytest.mark.parametrize(
    "material", [[], 5, {"x509CertificateChain": []}, {"x509CertificateChain": {"certificates": [1]}}]
)
def test_material_of_another_form_is_refused(material: Any, root: Issued) -> None:
    bundle = json.loads(sign_statement(statement_of({"a": "0" * 64})))
    bundle["verificationMaterial"] = material
    with pytest.raises(InvalidBundle):
        read_bundle(json.dumps(bundle).encode(), Trust(authorities=[root[0]]))


def test_names_are_common_names_and_alternatives(root: Issued) -> None:
    names = x509.SubjectAlternativeName([x509.RFC822Name("a@b.invalid"), x509.DNSName("b.invalid")])
    signer, _ = certify("signer", root, extensions=[(names, False)])
    assert names_of(signer) == ["signer", "a@b.invalid", "b.invalid"]


def test_files_of_authorities(tmp_path: Path) -> None:
    path = tmp_path / "authorities.pem"
    path.write_text("none")
    with pytest.raises(ConfigurationError, match="expected certificates in PEM form"):
        read_authorities(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_authorities(tmp_path / "absent.pem")
