"""DataFrame codec: under the module name that MLServer gives it."""

from __future__ import annotations

from functools import partial

from mlsrv.codecs.installed import installed_codec

__getattr__ = partial(installed_codec, __name__, names=("PandasCodec",))
