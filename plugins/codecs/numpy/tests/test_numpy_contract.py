"""The suites that ship with the plugin."""

from mlsrv_numpy.contracts import TestNumpyCodec, TestNumpyRequestCodec

__all__ = ["TestNumpyCodec", "TestNumpyRequestCodec"]
