"""Answer: what a detector found, as outputs and parameters of the protocol."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

logger = logging.getLogger("mlsrv.alibi-detect")

Array = npt.NDArray[Any]


def arrays(found: Sequence[dict[str, Any]]) -> dict[str, Array]:
    """Return the results of several calls by name, each with one row for each call.

    What is not there (None: not asked for, or before the first window of an online detector is full) becomes
    NaN. Objects, such as the classifier that a detector has trained for a call, are left out.
    """
    made = {}
    for name in found[0]["data"]:
        values = [np.nan if one["data"][name] is None else one["data"][name] for one in found]
        try:
            array = np.array(values)
        except ValueError:  # ragged: rows without a value yet beside rows with several
            widest = max(np.shape(value) for value in values)
            array = np.array([np.broadcast_to(value, widest) for value in values])
        if array.dtype.kind in "biufSU":
            made[name] = array
        else:
            logger.debug("%s is left out of the answer: it is no array of numbers", name)
    return made


def copied(value: Any) -> Any:
    """Return a copy of an array, and anything else as it is."""
    return value.copy() if isinstance(value, np.ndarray) else value


def plain(value: Any) -> Any:
    """Return a value of the detector's description as JSON has it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
