"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlsrv

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: KernelAPI) -> list[Any]:
    """Add the routes of the page and its assets."""
    from mlsrv_console.routes import routes

    return routes()
