"""OpenAI: the HTTP API of OpenAI over the models of a server, and a model that passes on to such an API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_openai.proxy import ProxyModel

__all__ = ["ProxyModel"]

# Lazy: loading the plugin imports no HTTP client.
__getattr__ = lazy_exports(__name__, {"ProxyModel": "mlsrv_openai.proxy"})
