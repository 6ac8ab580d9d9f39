"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlsrv

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI


@mlsrv.hookimpl
def mlsrv_meters() -> mlsrv.MeterOffer:
    """Offer what keeps the gauges for the page."""
    return mlsrv.MeterOffer("console", "mlsrv_console.gauges:GaugeMeter")


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: KernelAPI) -> list[Any]:
    """Add the routes of the page, its assets and its gauges."""
    from mlsrv_console.routes import routes

    return routes(kernel)
