"""Plugin: what this distribution offers to the kernel."""

from __future__ import annotations

from typing import Any

import mlsrv


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: mlsrv.Kernel) -> list[Any]:
    """Add the routes of the documents, the pages and their assets."""
    from mlsrv_openapi.routes import Documentation

    return Documentation(kernel).routes()
