"""Text codecs: under the module name that MLServer gives them."""

from __future__ import annotations

from functools import partial

from mlsrv.codecs.installed import installed_codec

__getattr__ = partial(installed_codec, __name__, names=("StringCodec", "StringRequestCodec"))
