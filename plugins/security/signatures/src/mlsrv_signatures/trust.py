"""Trust: who may sign models: holders of keys, and of certificates."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from mlsrv.errors import ConfigurationError
from mlsrv_signatures.certificates import UntrustedCertificate, names_of, signer_of
from mlsrv_signatures.settings import SignaturesSettings

_PEM = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)
_HASHES: dict[int, hashes.HashAlgorithm] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    512: hashes.SHA512(),
}


class NotTrusted(Exception):
    """None of those who may sign has made a signature; the text says why."""


@frozen
class Trust:
    """Those who may sign.

    Attributes:
        keys: public keys.
        authorities: certificates of authorities, whose holders may sign.
        signers: names of holders that may; empty for all of them.
    """

    keys: Sequence[ec.EllipticCurvePublicKey] = ()
    authorities: Sequence[x509.Certificate] = ()
    signers: Sequence[str] = ()

    @classmethod
    def of(cls, settings: SignaturesSettings) -> Trust:
        """Return what the settings name.

        Raises:
            ConfigurationError: a file cannot be read, or has something else.
        """
        keys, authorities = settings.model_signature_keys, settings.model_signature_authorities
        return cls(
            () if keys is None else read_keys(Path(keys)),
            () if authorities is None else read_authorities(Path(authorities)),
            settings.model_signature_signers,
        )

    def signer(self, signatures: Sequence[bytes], signed: bytes, chain: Sequence[bytes]) -> str:
        """Return who has signed.

        Args:
            signatures: of which one must be that of a trusted signer.
            signed: what they are of.
            chain: of certificates that come with them, in DER form; empty if there are none.

        Raises:
            NotTrusted: no trusted signer has.
        """
        if not chain:
            for key in self.keys:
                if any(_is_of(key, one, signed) for one in signatures):
                    return f"key {fingerprint(key)[:16]}"
            raise NotTrusted("none of the keys in model_signature_keys has made it")
        if not self.authorities:
            raise NotTrusted("it is made with a certificate, and there are no model_signature_authorities")
        try:
            certificate = signer_of(chain, self.authorities)
        except UntrustedCertificate as error:
            raise NotTrusted(str(error)) from None
        names = names_of(certificate)
        if self.signers and not set(self.signers) & set(names):
            raise NotTrusted(f"{', '.join(names) or 'its signer'} is not among model_signature_signers")
        holder = certificate.public_key()
        assert isinstance(holder, ec.EllipticCurvePublicKey)  # `signer_of` takes no others
        if not any(_is_of(holder, one, signed) for one in signatures):
            raise NotTrusted("the holder of its certificate has not made it")
        return f"certificate of {names[0] if names else certificate.subject.rfc4514_string()}"


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 digest of a public key in PEM form, as model-signing names keys."""
    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def read_keys(path: Path) -> list[ec.EllipticCurvePublicKey]:
    """Return the public keys of a PEM file.

    Raises:
        ConfigurationError: it cannot be read, or has something else.
    """
    where = f"model_signature_keys {path}"
    try:
        keys: list[Any] = [load_pem_public_key(block) for block in _blocks(path, where)]
    except (ValueError, UnsupportedAlgorithm):
        keys = []
    if not keys or not all(isinstance(key, ec.EllipticCurvePublicKey) for key in keys):
        raise ConfigurationError(f"{where}: expected public keys of elliptic curves in PEM form")
    return keys


def read_authorities(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file.

    Raises:
        ConfigurationError: it cannot be read, or has something else.
    """
    where = f"model_signature_authorities {path}"
    try:
        found = [x509.load_pem_x509_certificate(block) for block in _blocks(path, where)]
    except (ValueError, UnsupportedAlgorithm):
        found = []
    if not found:
        raise ConfigurationError(f"{where}: expected certificates in PEM form")
    return found


def _blocks(path: Path, where: str) -> Iterator[bytes]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{where}: cannot be read: {error.strerror}") from error
    return iter(_PEM.findall(text))


def _is_of(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    # The hash is as strong as the curve, as model-signing does it.
    strength = next(bits for bits in (256, 384, 512) if key.key_size <= bits or bits == 512)
    try:
        key.verify(signature, signed, ec.ECDSA(_HASHES[strength]))
    except InvalidSignature:
        return False
    return True
