"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlsrv
from mlsrv_openapi.settings import OpenAPISettings

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of the documentation."""
    return mlsrv.SettingsOffer("server", OpenAPISettings)


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: KernelAPI) -> list[Any]:
    """Add the routes of the documents, the pages and their assets."""
    if not kernel.settings.of(OpenAPISettings).docs_enabled:
        return []
    from mlsrv_openapi.routes import Documentation

    return Documentation(kernel).routes()
