"""TLS contexts from files, and what is said of wrong ones."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from mlsrv.errors import ConfigurationError
from mlsrv_transport_kit.tls import tls_context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with PEM files."""
    from cryptography.hazmat.primitives import serialization

    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    issued, other = authority.issue_cert("localhost"), authority.issue_cert("localhost").private_key_pem
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.write_to_path(str(folder / "other.pem"))
    (folder / "text.pem").write_text("this is no certificate", encoding="utf-8")
    (folder / "locked.pem").write_bytes(
        serialization.load_pem_private_key(issued.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    return folder


def test_tls_with_a_key_of_its_own_and_in_one_file(files: Path) -> None:
    cert, key, both = (str(files / f"{name}.pem") for name in ("cert", "key", "both"))
    for context in (
        tls_context(cert, key, None, setting="http_tls"),
        tls_context(both, None, None, setting="http_tls"),
    ):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.verify_mode is ssl.CERT_NONE


def test_clients_show_a_certificate_where_authorities_are_given(files: Path) -> None:
    context = tls_context(str(files / "both.pem"), None, str(files / "ca.pem"), setting="http_tls")
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("cert", "key", "ca", "says"),
    [
        ("absent", None, None, "owl_tls_cert: .*absent.pem cannot be read: no such file"),
        ("cert", "absent", None, "owl_tls_key: .*absent.pem cannot be read: no such file"),
        ("both", None, "absent", "owl_tls_ca: .*absent.pem cannot be read: no such file"),
        ("cert", "other", None, "not a certificate chain and its unencrypted private key.*: .*mismatch"),
        ("cert", None, None, "not a certificate chain and its unencrypted private key"),
        ("text", "key", None, "not a certificate chain and its unencrypted private key"),
        ("cert", "locked", None, "the private key is encrypted"),
        ("both", None, "text", "owl_tls_ca .*text.pem holds no certificates"),
    ],
)
def test_wrong_files_of_tls_are_one_sentence(
    files: Path, cert: str, key: str | None, ca: str | None, says: str
) -> None:
    paths = [str(files / f"{name}.pem") if name else None for name in (cert, key, ca)]
    with pytest.raises(ConfigurationError, match=says) as caught:
        tls_context(str(paths[0]), *paths[1:], setting="owl_tls")
    assert "\n" not in str(caught.value)
