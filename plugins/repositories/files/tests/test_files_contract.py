"""The suites that ship with the plugin."""

from mlsrv_files.contracts import TestFilesRepository

__all__ = ["TestFilesRepository"]
