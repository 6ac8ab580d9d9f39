"""Plugin: the hooks of mlsrv-alibi-explain."""

from __future__ import annotations

import mlsrv


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``alibi-explain``."""
    return mlsrv.RuntimeOffer(
        "alibi-explain",
        "mlsrv_alibi_explain.runtime:AlibiExplainRuntime",
        aliases=(
            "mlserver_alibi_explain.AlibiExplainRuntime",
            "mlserver_alibi_explain.runtime.AlibiExplainRuntime",
            "mlsrv_alibi_explain.AlibiExplainRuntime",
        ),
    )
