"""NumPy codecs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mlserver.codecs.named import named_codec
from mlserver.codecs.utils import InputOrOutput
from mlserver.types import Datatype

if TYPE_CHECKING:
    import numpy as np

__getattr__ = partial(
    named_codec,
    __name__,
    (
        "NumpyCodec",
        "NumpyRequestCodec",
    ),
)


def to_dtype(input_or_output: InputOrOutput) -> np.dtype[Any]:
    """Return the dtype of a tensor; that of BYTES is one of texts, or of as many bytes as its last dimension
    says."""
    import numpy as np

    from mlsrv.types import Datatype as OurDatatype

    datatype = Datatype(input_or_output.datatype)
    if datatype is not Datatype.BYTES:
        return np.dtype(OurDatatype(datatype.value).dtype)
    data = getattr(input_or_output.data, "root", input_or_output.data)
    is_text = isinstance(data, list) and all(isinstance(item, str) for item in data)
    return np.dtype(str) if is_text else np.dtype((bytes, input_or_output.shape[-1]))


def to_datatype(dtype: np.dtype[Any]) -> Datatype:
    """Return the datatype of arrays of a dtype; texts, bytes and objects are BYTES."""
    from mlsrv.types import Datatype as OurDatatype

    return Datatype.BYTES if dtype.kind in "OSU" else Datatype(OurDatatype.from_numpy(dtype).value)


def convert_nan(val: Any) -> Any:
    """Return None for a NaN, which alone differs from itself; any other number as it is."""
    return None if bool(val != val) else val
