"""Plugin: the hooks of mlsrv-pandas."""

from __future__ import annotations

import mlsrv


@mlsrv.hookimpl
def mlsrv_codecs() -> list[mlsrv.CodecOffer]:
    """Offer the content type ``pd`` for whole requests, and ``pd_json`` for the columns inside."""
    return [
        mlsrv.CodecOffer(
            "pd",
            "mlsrv_pandas.codec:PandasCodec",
            "request",
            ("pandas.DataFrame",),
            parameters=(
                "pd_dtype",
                "pd_categories",
                "pd_categories_dtype",
                "pd_ordered",
                "pd_cells",
                "pd_missing",
            ),
        ),
        mlsrv.CodecOffer("pd_json", "mlsrv_pandas.jsonvalues:JsonCodec", "input", sample="null"),
    ]
