"""The suites that ship with the plugin."""

from mlsrv_text.contracts import TestBase64Codec, TestDatetimeCodec, TestStringCodec, TestStringRequestCodec

__all__ = ["TestStringCodec", "TestStringRequestCodec", "TestBase64Codec", "TestDatetimeCodec"]
