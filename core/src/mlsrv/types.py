"""Types: the messages of the protocol, under the names that the specification gives them."""

from mlsrv_protocol.types import *  # noqa: F403  # one list of public names, kept in mlsrv_protocol
from mlsrv_protocol.types import __all__ as __all__
