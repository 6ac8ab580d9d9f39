"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlsrv

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: KernelAPI) -> list[Any]:
    """Add the routes of the documents, the pages and their assets."""
    from mlsrv_openapi.routes import Documentation

    return Documentation(kernel).routes()
