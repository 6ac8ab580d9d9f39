"""Pandas DataFrames as the content type ``pd``, and JSON-valued tensors as ``pd_json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_pandas.codec import PandasCodec
    from mlsrv_pandas.jsonvalues import JsonCodec

__all__ = ["JsonCodec", "PandasCodec"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import pandas.
    if name == "PandasCodec":
        from mlsrv_pandas.codec import PandasCodec

        return PandasCodec
    if name == "JsonCodec":
        from mlsrv_pandas.jsonvalues import JsonCodec

        return JsonCodec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
