"""Failures: the end of replicas, and a cluster that does not answer."""

from __future__ import annotations

from mlsrv.errors import Code, MLSrvError, Overloaded


class ReplicaEnded(Overloaded):
    """A replica, or its node, ended while it had the request; the client may repeat it."""

    reason = "replica_ended"


class ClusterLost(MLSrvError):
    """The cluster cannot be reached, or does not answer."""

    code = Code.NOT_READY
