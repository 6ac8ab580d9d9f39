"""Pandas codecs: DataFrames as the content type ``pd``, and JSON-valued tensors as ``pd_json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_pandas.codec import PandasCodec
    from mlsrv_pandas.jsonvalues import JsonCodec

__all__ = ["JsonCodec", "PandasCodec"]

# Lazy: loading the plugin does not import pandas.
__getattr__ = lazy_exports(
    __name__, {"JsonCodec": "mlsrv_pandas.jsonvalues", "PandasCodec": "mlsrv_pandas.codec"}
)
