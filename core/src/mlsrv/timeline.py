"""Timeline: the phases of one request; its home is `mlsrv_hosting_kit.timeline`."""

from mlsrv_hosting_kit.timeline import *  # noqa: F403  # one list of public names, kept in the kit
from mlsrv_hosting_kit.timeline import __all__ as __all__
