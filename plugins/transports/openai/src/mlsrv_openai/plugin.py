"""Plugin: the hooks of mlsrv-openai."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import mlsrv

if TYPE_CHECKING:
    from mlsrv.kernel_api import KernelAPI


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_routes(kernel: KernelAPI) -> list[Any]:
    """Add the routes ``/v1/…`` of OpenAI."""
    from mlsrv_openai.routes import OpenAI

    return OpenAI(kernel).routes()


@mlsrv.hookimpl(optionalhook=True)
def mlsrv_rest_middleware(kernel: KernelAPI) -> Callable[[Any], Any]:
    """Give errors of these routes the form of OpenAI."""
    from mlsrv_openai.errors import ErrorForm

    return ErrorForm


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``openai-proxy``."""
    return mlsrv.RuntimeOffer(
        "openai-proxy", "mlsrv_openai.proxy:ProxyModel", aliases=("mlsrv_openai.ProxyModel",)
    )
