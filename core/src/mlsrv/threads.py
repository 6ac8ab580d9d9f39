"""Threads: daemon threads for code that blocks; their home is `mlsrv_hosting_kit.threads`."""

from mlsrv_hosting_kit.threads import *  # noqa: F403  # one list of public names, kept in the kit
from mlsrv_hosting_kit.threads import __all__ as __all__
