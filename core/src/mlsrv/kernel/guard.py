"""Guard: asks the authorizer about each request, and compares the rights of its principal with the action."""

from __future__ import annotations

from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.errors import MLSrvError, PermissionDenied, Unauthenticated
from mlsrv.kernel_api import Metrics
from mlsrv.telemetry.kernel_metrics import REFUSED


class RequestGuard:
    """Lets requests in that may come in.

    Args:
        authorizer: finds their principals.
        metrics: count the refusals.
    """

    def __init__(self, authorizer: Authorizer, metrics: Metrics) -> None:
        self._authorizer = authorizer
        self._metrics = metrics

    async def admit(self, access: AccessRequest) -> Principal:
        """See `mlsrv.kernel_api.Guard.admit`."""
        try:
            principal = await self._authorizer.authorize(access)
            self._decide(access, principal, access.model)
        except MLSrvError as error:
            self._refused(error)
            raise
        return principal

    def check(self, access: AccessRequest, principal: Principal, model: str) -> None:
        """See `mlsrv.kernel_api.Guard.check`."""
        try:
            self._decide(access, principal, model)
        except MLSrvError as error:
            self._refused(error)
            raise

    def _decide(self, access: AccessRequest, principal: Principal, model: str | None) -> None:
        action = access.action
        if action is not None and principal.allows(action, model):
            return
        if principal.anonymous:
            raise Unauthenticated("This request needs credentials, and has none.")
        if action is not None:
            raise PermissionDenied.of(principal.name, action, model)

    def _refused(self, error: MLSrvError) -> None:
        self._metrics.record(REFUSED, 1.0, (error.reason,))
