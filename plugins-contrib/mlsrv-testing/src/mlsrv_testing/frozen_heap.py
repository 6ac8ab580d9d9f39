"""Plugin of pytest: excludes what exists before the first test from garbage collections.

Enable it with ``-p mlsrv_testing.frozen_heap``. Kernels collect garbage after models were unloaded, and so
does the fixture ``no_leaks``. Beside libraries and thousands of collected tests, which each collection would
visit, that takes longer than most tests.
"""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Exclude all present objects from later collections, for they stay until the end."""
    gc.collect()
    gc.freeze()
