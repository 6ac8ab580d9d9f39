"""Plugin: what this distribution offers to the kernel and to the command line."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import mlsrv

if TYPE_CHECKING:
    from mlsrv.authorization import Authorizer
    from mlsrv.kernel_api import KernelAPI
    from mlsrv_keys.authorizer import KeysAuthorizer


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of keys, tokens and certificates."""
    from mlsrv_keys.settings import KeysSettings  # `mlsrv --help` imports this module

    return mlsrv.SettingsOffer("server", KeysSettings)


@mlsrv.hookimpl
def mlsrv_lifespan(kernel: KernelAPI) -> AbstractAsyncContextManager[object] | None:
    """Watch the files of keys while the kernel runs."""
    return _authorizer(kernel)


@mlsrv.hookimpl
def mlsrv_authorize(kernel: KernelAPI) -> Authorizer | None:
    """Decide by keys, if the settings say so."""
    return _authorizer(kernel)


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_cli_commands(group: Any) -> None:
    """Add ``mlsrv keys``."""
    group.add("keys", "mlsrv_keys.commands:keys", help="Make, list, revoke and rotate API keys.")


def _authorizer(kernel: KernelAPI) -> KeysAuthorizer | None:
    """Return the authorizer of a kernel, or None if its settings use none."""
    from mlsrv_keys.settings import KeysSettings

    if not kernel.settings.of(KeysSettings).is_used:
        return None
    from mlsrv_keys.authorizer import authorizer_of

    return authorizer_of(kernel)
