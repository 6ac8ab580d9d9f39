"""The codec of DataFrames, under the module name that MLServer gives it."""

from __future__ import annotations

from typing import Any

from mlsrv.codecs.installed import installed_codec

_NAMES = ("PandasCodec",)


def __getattr__(name: str) -> Any:
    return installed_codec(__name__, name, _NAMES)
