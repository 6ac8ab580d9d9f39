"""The hooks of mlsrv-openapi."""

from __future__ import annotations

from typing import Any

import mlsrv


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: mlsrv.Kernel) -> list[Any]:
    """The documents, the pages and their assets."""
    from mlsrv_openapi.routes import Documentation

    return Documentation(kernel).routes()
