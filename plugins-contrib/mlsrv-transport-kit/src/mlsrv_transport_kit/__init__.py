"""mlsrv-transport-kit: what transports share that listen on sockets of their own; see its modules.

Every fault of an address or a file is reported before a request is served.
"""

from mlsrv_transport_kit.siblings import Siblings, siblings_of, statistics_of
from mlsrv_transport_kit.sockets import (
    BACKLOG,
    bind,
    bind_all,
    host_and_port,
    shared_port,
    unusable,
    url,
)
from mlsrv_transport_kit.tls import ServerTLS, TLSFiles, subject_of, tls_context

__all__ = [
    "BACKLOG",
    "ServerTLS",
    "Siblings",
    "TLSFiles",
    "bind",
    "bind_all",
    "host_and_port",
    "shared_port",
    "siblings_of",
    "statistics_of",
    "subject_of",
    "tls_context",
    "unusable",
    "url",
]
