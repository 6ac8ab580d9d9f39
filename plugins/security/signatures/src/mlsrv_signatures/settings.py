"""Settings: what models must prove before they are loaded."""

from __future__ import annotations

import re
from typing import Literal

from mlsrv.settings import setting, settings_class

_DIGEST = re.compile(r"[0-9a-f]{64}")


@settings_class
class SignaturesSettings:
    """Server settings."""

    model_signature_keys: str | None = setting(
        None, help="PEM file with the public keys of those who may sign models.", path=True
    )
    model_signature_authorities: str | None = setting(
        None, help="PEM file with certificates of authorities, whose holders may sign models.", path=True
    )
    model_signature_signers: list[str] = setting(
        factory=list,
        help="Names (common name, mail, URI or host) of the certificates that may sign; all when empty.",
    )
    model_signatures: Literal["required", "warn", "off"] | None = setting(
        None,
        help="Models without a valid signature: refuse them, or load them with a warning. Default: required "
        "if there are keys or authorities, else off.",
    )
    model_signature_file: str = setting("model.sig", help="Name of the signature in a model's folder.")
    allow_pickle: bool = setting(
        True, help="Load models that have pickles, which can run any code (pickle, joblib, cloudpickle)."
    )
    model_staging_folder: str | None = setting(
        None,
        help="Folder for the private copies that are checked and loaded; the system's for temporary files "
        "when not set.",
        path=True,
    )

    def __attrs_post_init__(self) -> None:
        if self.model_signatures in ("required", "warn") and not self._names_signers:
            raise ValueError(
                "model_signature_keys, model_signature_authorities: expected a file, because "
                "model_signatures is set"
            )
        if self.model_signature_signers and self.model_signature_authorities is None:
            raise ValueError("model_signature_authorities: expected a file with model_signature_signers")
        if "/" in self.model_signature_file or not self.model_signature_file:
            raise ValueError("model_signature_file: expected the name of a file in the model's folder")

    @property
    def level(self) -> Literal["required", "warn", "off"]:
        """Return what holds for models without a valid signature."""
        return self.model_signatures or ("required" if self._names_signers else "off")

    @property
    def _names_signers(self) -> bool:
        return self.model_signature_keys is not None or self.model_signature_authorities is not None


@settings_class
class SignaturesModelSettings:
    """Model settings."""

    sha256: dict[str, str] = setting(
        factory=dict,
        help="SHA-256 digests of files in the model's folder, by name; the model is refused if one differs.",
    )

    def __attrs_post_init__(self) -> None:
        for name, digest in self.sha256.items():
            if not _DIGEST.fullmatch(digest):
                raise ValueError(f"sha256: expected 64 hexadecimal digits in lower case for {name!r}")
