"""Certificates: the chains of those who sign models, up to authorities that the operator trusts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

LONGEST_CHAIN = 8

_UNDERSTOOD = frozenset(
    (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    )
)
_MAY_SIGN = frozenset((ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class UntrustedCertificate(Exception):
    """A chain of certificates leads to no authority, or may not be used; the text says why."""


def signer_of(
    chain: Sequence[bytes], authorities: Sequence[x509.Certificate], now: datetime | None = None
) -> x509.Certificate:
    """Return the certificate of a signer, once its chain leads to an authority.

    Args:
        chain: certificates in DER form: that of the signer, then others in any order.
        authorities: that are trusted.
        now: the time at which all of them must be valid.

    Raises:
        UntrustedCertificate: it does not, or one of them has ended or is for another purpose.
    """
    if not 1 <= len(chain) <= LONGEST_CHAIN:
        raise UntrustedCertificate(f"a chain has 1 to {LONGEST_CHAIN} certificates")
    now = now or datetime.now(UTC)
    try:
        signer, *others = map(x509.load_der_x509_certificate, chain)
        _check_signer(signer)
        _check_time(signer, now)
        below, length = signer, 0
        while (top := _issuer(below, authorities)) is None:
            above = _issuer(below, others)
            if above is None:
                raise UntrustedCertificate("none of model_signature_authorities has issued its certificate")
            others.remove(above)
            _check_issuer(above, length)
            _check_time(above, now)
            below, length = above, length + 1
        _check_issuer(top, length)
        _check_time(top, now)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise UntrustedCertificate(f"a certificate cannot be read: {error}") from None
    return signer


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the names of a certificate's holder: common names, addresses of mail, URIs and host names."""
    names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    others = _extension(certificate, x509.SubjectAlternativeName)
    for one in others or ():
        if isinstance(one, x509.RFC822Name | x509.UniformResourceIdentifier | x509.DNSName):
            names.append(one.value)
    return names


def _issuer(certificate: x509.Certificate, candidates: Sequence[x509.Certificate]) -> x509.Certificate | None:
    return next(_issuers(certificate, candidates), None)


def _issuers(
    certificate: x509.Certificate, candidates: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    for candidate in candidates:
        try:
            certificate.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature):
            continue
        yield candidate


def _check_time(certificate: x509.Certificate, now: datetime) -> None:
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        name = certificate.subject.rfc4514_string()
        raise UntrustedCertificate(f"the certificate of {name} is not valid at this time")


def _check_signer(certificate: x509.Certificate) -> None:
    _check_critical(certificate)
    usage = _extension(certificate, x509.KeyUsage)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if usage is None and purposes is None:
        raise UntrustedCertificate("its certificate is not made for signing")
    if usage is not None and not usage.digital_signature:
        raise UntrustedCertificate("its certificate is not made for signing")
    if purposes is not None and not _MAY_SIGN & set(purposes):
        raise UntrustedCertificate("its certificate is not made for signing code")
    if not isinstance(certificate.public_key(), ec.EllipticCurvePublicKey):
        raise UntrustedCertificate("the key of its certificate is not one of an elliptic curve")


def _check_issuer(certificate: x509.Certificate, length: int) -> None:
    """Check that a certificate may issue others, with `length` of them between it and that of the signer."""
    _check_critical(certificate)
    name = certificate.subject.rfc4514_string()
    basic = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
        raise UntrustedCertificate(f"{name} may not issue certificates")
    if basic.path_length is not None and basic.path_length < length:
        raise UntrustedCertificate(f"{name} may not issue a chain of that length")


def _check_critical(certificate: x509.Certificate) -> None:
    for one in certificate.extensions:
        if one.critical and one.oid not in _UNDERSTOOD:
            raise UntrustedCertificate(f"a certificate has the critical extension {one.oid.dotted_string}")


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
