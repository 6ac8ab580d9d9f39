"""NumPy codec: arrays as the content type ``np``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsrv.lazy import lazy_exports

if TYPE_CHECKING:
    from mlsrv_numpy.codec import NumpyCodec, NumpyRequestCodec

__all__ = ["NumpyCodec", "NumpyRequestCodec"]

# Lazy: loading the plugin does not import numpy.
__getattr__ = lazy_exports(
    __name__, {"NumpyCodec": "mlsrv_numpy.codec", "NumpyRequestCodec": "mlsrv_numpy.codec"}
)
