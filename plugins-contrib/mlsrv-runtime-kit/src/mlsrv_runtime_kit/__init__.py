"""Runtime kit: base classes and helpers for the runtimes of frameworks.

A runtime whose models take a table of rows and features derives from `TableModel` and says what its artifact
knows as `Features` and `TableOutput`; the other functions serve any runtime.
"""

from mlsrv_runtime_kit.arrays import array_codecs
from mlsrv_runtime_kit.artifact import find_artifact, missing_module, unreadable
from mlsrv_runtime_kit.categories import Categories
from mlsrv_runtime_kit.extras import default_output, extra_value
from mlsrv_runtime_kit.features import Features
from mlsrv_runtime_kit.library import import_library, licence_of
from mlsrv_runtime_kit.table import TableModel, TableOutput, labelled, refused
from mlsrv_runtime_kit.threads import share_of_cores, thread_count

__all__ = [
    "Categories",
    "Features",
    "TableModel",
    "TableOutput",
    "array_codecs",
    "default_output",
    "extra_value",
    "find_artifact",
    "import_library",
    "labelled",
    "licence_of",
    "refused",
    "share_of_cores",
    "thread_count",
    "missing_module",
    "unreadable",
]
