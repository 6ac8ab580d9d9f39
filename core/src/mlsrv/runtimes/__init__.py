"""Runtimes: base classes and helpers for the runtimes of frameworks.

A runtime whose models take a table of rows and features derives from `TableModel` and says what its artifact
knows as `Features` and `TableOutput`; the other functions serve any runtime.
"""

from mlsrv.runtimes.arrays import array_codecs
from mlsrv.runtimes.artifact import find_artifact, unreadable
from mlsrv.runtimes.extras import default_output, extra_value
from mlsrv.runtimes.features import Features
from mlsrv.runtimes.table import TableModel, TableOutput, refused
from mlsrv.runtimes.threads import thread_count

__all__ = [
    "Features",
    "TableModel",
    "TableOutput",
    "array_codecs",
    "default_output",
    "extra_value",
    "find_artifact",
    "refused",
    "thread_count",
    "unreadable",
]
