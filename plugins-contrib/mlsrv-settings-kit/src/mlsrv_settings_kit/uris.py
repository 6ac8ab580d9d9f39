"""URIs: which texts name a scheme, and are no paths."""

from __future__ import annotations

import re

# Two letters at least: "C:/models" is a path.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def has_scheme(uri: str) -> bool:
    """Return whether a URI names its scheme (``s3://bucket/model``, ``models:/name/1``); a path does not."""
    return _SCHEME.match(uri) is not None
