"""Column dtypes: the tensor parameters that name a column's dtype where the data alone does not show it."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import pandas as pd

TextDtype: TypeAlias = Any
DTYPE = "pd_dtype"
CATEGORIES = "pd_categories"
CATEGORIES_DTYPE = "pd_categories_dtype"
ORDERED = "pd_ordered"

TEXT = pd.Series(["a"]).dtype
"""What this version of pandas makes of texts: ``object`` before pandas 3, ``str`` since."""

# Names that come from outside go no further than this list.
_KNOWN = re.compile(
    r"object|str|string|boolean|U?Int(?:8|16|32|64)|Float(?:32|64)|category"
    r"|datetime64\[(?:s|ms|us|ns)(?:, (?!dateutil)[A-Za-z0-9_+:/-]+)?\]"
)


def is_known(name: object) -> bool:
    """Return whether `pd_dtype` may have this value."""
    return isinstance(name, str) and _KNOWN.fullmatch(name) is not None


def name_of(dtype: Any) -> str | None:
    """Return the name under which a dtype is sent, or None if it has none."""
    name = str(dtype)
    return name if is_known(name) else None
