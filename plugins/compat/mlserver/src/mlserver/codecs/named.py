"""Named: the codecs of mlsrv under the names that MLServer gives them, imported when they are first used."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

__all__ = ["named_codec"]


def named_codec(module: str, names: Collection[str], name: str) -> Any:
    """Return the codec that `module` has under `name`.

    Raises:
        AttributeError: `name` is none of `names`.
        ImportError: the plugin of the codec is not installed.
    """
    if name not in names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    from mlsrv_mlserver.wrapped_codecs import codec_named

    return codec_named(name)
