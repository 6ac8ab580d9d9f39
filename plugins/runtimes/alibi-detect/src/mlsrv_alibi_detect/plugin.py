"""Plugin: the hooks of mlsrv-alibi-detect."""

from __future__ import annotations

import mlsrv


@mlsrv.hookimpl
def mlsrv_runtimes() -> mlsrv.RuntimeOffer:
    """Offer the runtime ``alibi-detect``."""
    return mlsrv.RuntimeOffer(
        "alibi-detect",
        "mlsrv_alibi_detect.runtime:AlibiDetectRuntime",
        aliases=(
            "mlserver_alibi_detect.AlibiDetectRuntime",
            "mlserver_alibi_detect.runtime.AlibiDetectRuntime",
            "mlsrv_alibi_detect.AlibiDetectRuntime",
        ),
    )
