"""Check request: the input of the process that runs a check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from mlsrv_testing.checks import Given


@attrs.frozen
class CheckRequest:
    """A check to run.

    Attributes:
        name: of the plugin, of its distribution, or of something that it offers.
        plugin_files, block: which plugins there are.
        given: samples and settings.
        timeout: seconds that a case may take.
        folder: for everything temporary.
        settled: the numbers of what an earlier process has tried.
    """

    name: str
    plugin_files: Sequence[str]
    block: Sequence[str]
    given: Given
    timeout: float
    folder: Path
    settled: frozenset[int] = frozenset()

    @property
    def stacks(self) -> Path:
        """The file that gets the stacks of threads and coroutines when a case overruns or the process
        dies."""
        return self.folder / "stacks"
