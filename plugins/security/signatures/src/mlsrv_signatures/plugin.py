"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import mlsrv
from mlsrv_signatures.settings import SignaturesModelSettings, SignaturesSettings

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.repository import VerifiedFolder


@mlsrv.hookimpl
def mlsrv_settings() -> tuple[mlsrv.SettingsOffer, ...]:
    """Offer the settings of the server and of models."""
    return (
        mlsrv.SettingsOffer("server", SignaturesSettings),
        mlsrv.SettingsOffer("model", SignaturesModelSettings),
    )


@mlsrv.hookimpl
def mlsrv_verified_folder(
    kernel: KernelAPI, model: mlsrv.ModelSettings
) -> AbstractContextManager[VerifiedFolder | None] | None:
    """Give models that must prove something a private copy of their folder, which is checked."""
    settings, pins = kernel.settings.of(SignaturesSettings), model.of(SignaturesModelSettings).sha256
    if settings.level == "off" and settings.allow_pickle and not pins:
        return None
    from mlsrv_signatures.verification import verified_copy

    return verified_copy(settings, pins, model)
