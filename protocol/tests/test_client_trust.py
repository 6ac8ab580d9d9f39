"""Trust: certificates for the client, and its messages when TLS fails."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from mlsrv_protocol.client.trust import certificate_bytes, trusted, trusted_bytes, unreachable
from mlsrv_protocol.errors import InvalidPayload


def test_files_that_hold_no_certificates_are_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(InvalidPayload, match=r"ca.pem cannot be read as certificates .*: No such file"):
        trusted(str(file))
    with pytest.raises(InvalidPayload, match=r"ca.pem cannot be read as certificates .*: No such file"):
        trusted_bytes(str(file))
    file.write_text("nothing")
    with pytest.raises(InvalidPayload, match="cannot be read as certificates"):
        trusted(str(file))


def test_a_file_of_authorities_or_common_ones(tmp_path: Path) -> None:
    assert (trusted(True), trusted(False), trusted_bytes(True)) == (True, False, None)
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    assert isinstance(trusted(str(file)), ssl.SSLContext)
    assert trusted_bytes(str(file)) == file.read_bytes()


def test_grpc_cannot_leave_out_the_check() -> None:
    with pytest.raises(InvalidPayload, match="gRPC cannot leave out the check"):
        trusted_bytes(False)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "its certificate is not trusted"),
        (
            "Ssl handshake failed: ...:CERTIFICATE_VERIFY_FAILED",
            "its certificate is not trusted",
        ),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "does it speak TLS"),
        ("Connection refused", "is it running"),
    ],
)
def test_a_failure_of_tls_is_told_from_a_server_that_is_not_there(text: str, sentence: str) -> None:
    message = str(unreachable("h:1", text))
    assert sentence in message
    assert ("is it running" in message) == (text == "Connection refused")


def test_certificates_of_clients(tmp_path: Path) -> None:
    authority, both, key = trustme.CA(), tmp_path / "both.pem", tmp_path / "key.pem"
    own = authority.issue_cert("robot.invalid")
    own.private_key_and_cert_chain_pem.write_to_path(str(both))
    own.private_key_pem.write_to_path(str(key))
    for cert in (str(both), (str(both), str(key))):
        for verify in (True, False):
            assert isinstance(trusted(verify, cert), ssl.SSLContext)
    assert certificate_bytes((str(both), str(key))) == (key.read_bytes(), both.read_bytes())
    with pytest.raises(InvalidPayload, match=r"absent\.pem cannot be read .*: No such file"):
        trusted(True, str(tmp_path / "absent.pem"))
    other = tmp_path / "other.pem"
    authority.issue_cert("other.invalid").private_key_pem.write_to_path(str(other))
    with pytest.raises(InvalidPayload, match=r"both\.pem and .*other\.pem cannot be read"):
        certificate_bytes((str(both), str(other)))


def test_no_password_is_asked_for(tmp_path: Path) -> None:
    locked = tmp_path / "locked.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    locked.write_bytes(key.private_bytes(*form))
    with pytest.raises(InvalidPayload, match="without a password"):
        trusted(True, str(locked))
