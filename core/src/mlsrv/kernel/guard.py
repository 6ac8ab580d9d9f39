"""Guard: asks the authorizer about each request, and compares the rights of its principal with the action."""

from __future__ import annotations

from time import monotonic

from attrs import define, evolve

from mlsrv.authorization import AccessRequest, Authorizer, Principal
from mlsrv.errors import MLSrvError, PermissionDenied, RateLimited, Unauthenticated
from mlsrv.kernel_api import AuditNotes, Metrics
from mlsrv.telemetry.kernel_metrics import ADMITTED, REFUSED
from mlsrv_telemetry_kit.metrics import Recorder

MOST_BUCKETS = 10_000
"""Principals whose rates are tracked at once; those that have been quiet long enough are forgotten first."""

MOST_SERIES = 200
"""Principals that have a series of their own in the metrics."""

OTHERS = "others"


@define(slots=True)
class _Bucket:
    """Tokens of one principal; a request takes one."""

    when: float
    tokens: float | None = None
    rate: float = 1.0
    burst: float = 1.0

    def take(self, now: float, rate: float, burst: float) -> float:
        """Take a token; returns 0.0, or the seconds until there is one."""
        tokens = burst if self.tokens is None else min(burst, self.tokens + (now - self.when) * rate)
        self.when, self.rate, self.burst = now, rate, burst
        if tokens < 1.0:
            self.tokens = tokens
            return (1.0 - tokens) / rate
        self.tokens = tokens - 1.0
        return 0.0

    def is_full(self, now: float) -> bool:
        """Return whether a new bucket would be the same."""
        return self.tokens is not None and self.tokens + (now - self.when) * self.rate >= self.burst


class RequestGuard:
    """Lets requests in that may come in.

    Args:
        authorizer: finds their principals.
        metrics: count who is let in, and the refusals.
        audit: notes the refusals, if it is on.
    """

    def __init__(self, authorizer: Authorizer, metrics: Metrics, audit: AuditNotes | None = None) -> None:
        self._audit = audit
        self._authorizer = authorizer
        self._metrics = metrics
        self.credential_headers = authorizer.credential_headers
        self._buckets: dict[str, _Bucket] = {}
        self._counts: dict[str, Recorder] = {}

    async def admit(self, access: AccessRequest) -> Principal:
        """See `mlsrv.kernel_api.Guard.admit`."""
        principal = None
        try:
            principal = await self._authorizer.authorize(access)
            self._decide(access, principal, access.model)
            if principal.limits is not None and principal.limits.rate is not None:
                self._spend(principal.name, principal.limits.rate, principal.limits.burst)
        except MLSrvError as error:
            self._refused(error, access, principal)
            raise
        headers = access.headers
        if type(headers) is dict:
            for name in self.credential_headers:
                if name in headers:
                    headers[name] = f"principal {principal.name}"
        count = self._counts.get(principal.name)
        if count is None:
            count = self._bind(principal.name)
        count(1.0)
        return principal

    def check(self, access: AccessRequest, principal: Principal, model: str) -> None:
        """See `mlsrv.kernel_api.Guard.check`."""
        try:
            self._decide(access, principal, model)
        except MLSrvError as error:
            self._refused(error, evolve(access, model=model), principal)
            raise

    def _decide(self, access: AccessRequest, principal: Principal, model: str | None) -> None:
        action = access.action
        if action is not None and principal.allows(action, model):
            return
        if principal.anonymous:
            raise Unauthenticated("This request needs credentials, and has none.")
        if action is not None:
            raise PermissionDenied.of(principal.name, action, model)

    def _spend(self, name: str, rate: float, burst: float | None) -> None:
        now = monotonic()
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= MOST_BUCKETS:
                self._buckets = {
                    name: bucket for name, bucket in self._buckets.items() if not bucket.is_full(now)
                }
                if len(self._buckets) >= MOST_BUCKETS:
                    self._buckets.clear()
            bucket = self._buckets[name] = _Bucket(now)
        wait = bucket.take(now, rate, max(1.0, rate) if burst is None else max(1.0, burst))
        if wait > 0:
            raise RateLimited.by(name, f"{rate:g} requests per second", wait)

    def _bind(self, name: str) -> Recorder:
        if len(self._counts) >= MOST_SERIES:
            return self._counts.get(OTHERS) or self._counts.setdefault(
                OTHERS, self._metrics.bind(ADMITTED, (OTHERS,))
            )
        return self._counts.setdefault(name, self._metrics.bind(ADMITTED, (name,)))

    def _refused(self, error: MLSrvError, access: AccessRequest, principal: Principal | None) -> None:
        if self._audit is not None:
            self._audit.note(access, None if principal is None else principal.name, str(error.code))
        self._metrics.record(REFUSED, 1.0, (error.reason,))
