"""NumPy arrays as the content type ``np``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv_numpy.codec import NumpyCodec, NumpyRequestCodec

__all__ = ["NumpyCodec", "NumpyRequestCodec"]


def __getattr__(name: str) -> Any:
    # Lazy, so that loading the plugin does not import numpy.
    if name in __all__:
        from mlsrv_numpy import codec

        return getattr(codec, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
