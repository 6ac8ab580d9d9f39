"""Hooks of pytest for all tests."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Exclude what exists when tests begin from garbage collections, which would else visit it each time.

    Kernels collect garbage whenever a model was unloaded, and so does the fixture ``no_leaks``. Beside the
    libraries and thousands of collected tests, that takes longer than most tests.
    """
    gc.collect()
    gc.freeze()
