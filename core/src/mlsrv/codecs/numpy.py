"""The codecs of numpy arrays, under the module name that MLServer gives them."""

from __future__ import annotations

from typing import Any

from mlsrv.codecs.installed import installed_codec

_NAMES = ("NumpyCodec", "NumpyRequestCodec")


def __getattr__(name: str) -> Any:
    return installed_codec(__name__, name, _NAMES)
