"""The suites that ship with the plugin."""

from mlsrv_pandas.contracts import TestPandasCodec

__all__ = ["TestPandasCodec"]
