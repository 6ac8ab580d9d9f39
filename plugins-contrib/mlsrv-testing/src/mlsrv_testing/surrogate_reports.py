"""Plugin of pytest: lets pytest-xdist carry reports of tests whose texts hold lone surrogates.

Enable it with ``-p mlsrv_testing.surrogate_reports`` where tests run in several processes.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape lone surrogates in the report of a test: pytest-xdist sends reports as UTF-8."""
    return escaped((yield))


def escaped(value: Any) -> Any:
    """Return a copy of plain data whose texts all can be encoded."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {escaped(key): escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(escaped, value))
    return value
