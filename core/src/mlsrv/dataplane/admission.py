"""Admission: limits the requests that wait or run at once, of one model and of all of them together."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

from mlsrv.authorization import Limits, Principal
from mlsrv.errors import Overloaded, RateLimited, TooLarge
from mlsrv.handlers import Arguments, HandlerRequest

LARGEST_SHARE = 0.9
"""Part of a limit that principals share evenly once half of it is taken: one alone leaves room for others."""

RECENT_SECONDS = 1.0
"""Seconds for which a principal counts as active after a request: its next ones find room, too."""

_TIGHT = 2**24
"""Bytes below which a limit must count the data of small requests exactly."""

_NOTHING = (0, 0)


class Admission:
    """Counts the requests that are in, and their bytes, and lets no more in than its limits allow.

    Args:
        what: whose limits these are, for messages.
        kind: how reasons of refusals begin: ``"model"`` or ``"server"``.
        most: requests that may be in at once.
        most_bytes: bytes that they may have together.
        whole: the admission of which this is a part; whatever is let in here counts there, too.

    Attributes:
        requests, bytes: what is in now.
    """

    __slots__ = ("_kind", "_most", "_most_bytes", "_of", "_recent", "_what", "_whole", "bytes", "requests")

    def __init__(
        self, what: str, kind: str, most: int, most_bytes: int, whole: Admission | None = None
    ) -> None:
        self.requests = 0
        self.bytes = 0
        self._what = what
        self._kind = kind
        self._most = most
        self._most_bytes = most_bytes
        self._whole = whole
        self._of: dict[str, list[int]] = {}
        self._recent: OrderedDict[str, float] = OrderedDict()

    @property
    def is_tight(self) -> bool:
        """True if the JSON of small requests must not count for their data, which is shorter."""
        return self._most_bytes < _TIGHT or (self._whole is not None and self._whole.is_tight)

    def enter(self, size: int, principal: Principal | None = None) -> None:
        """Let a request of `size` bytes in, until `leave`.

        Raises:
            Overloaded: there are too many requests or bytes; its `reason` says which, and of whom. A
                principal that has more than its share of a limit is refused before others are.
            RateLimited: the principal has reached a limit of its own.
            TooLarge: it would not even be let in alone.
        """
        if principal is not None:
            limits = principal.limits if self._whole is None else None  # they are for all models together
            is_crowded = 2 * self.requests >= self._most
            is_full = 2 * (self.bytes + size) >= self._most_bytes
            if is_crowded or is_full or limits is not None:
                self._check(principal.name, limits, size, is_crowded, is_full)
        if self.requests >= self._most or self.bytes + size > self._most_bytes:
            raise self._refusal(size)
        if self._whole is not None:
            self._whole.enter(size, principal)
        self.requests += 1
        self.bytes += size
        if principal is not None:
            if (taken := self._of.get(principal.name)) is None:
                self._of[principal.name] = [1, size]
            else:
                taken[0] += 1
                taken[1] += size

    def leave(self, size: int, principal: Principal | None = None) -> None:
        """A request that was let in has its answer, or was given up."""
        self.requests -= 1
        self.bytes -= size
        if principal is not None:
            taken = self._of[principal.name]
            if taken[0] == 1:
                del self._of[principal.name]
            else:
                taken[0] -= 1
                taken[1] -= size
        if self._whole is not None:
            self._whole.leave(size, principal)

    def _check(self, name: str, limits: Limits | None, size: int, is_crowded: bool, is_full: bool) -> None:
        requests, taken = self._of.get(name, _NOTHING)
        if limits is not None:
            if limits.in_flight is not None and requests >= limits.in_flight:
                raise RateLimited.by(name, f"{limits.in_flight} requests at once")
            if limits.in_flight_bytes is not None and taken + size > limits.in_flight_bytes:
                raise RateLimited.by(name, f"{limits.in_flight_bytes} bytes of requests at once")
        if not (is_crowded or is_full):
            return
        active = max(self._count_recent(name), len(self._of) + (requests == 0))
        if is_crowded and requests >= max(1, LARGEST_SHARE * self._most / active):
            raise Overloaded.of(self._what, f"{requests} requests of {name}", "principal_requests")
        if is_full and taken and taken + size > LARGEST_SHARE * self._most_bytes / active:
            raise Overloaded.of(self._what, f"{taken} bytes of requests of {name}", "principal_bytes")

    def _count_recent(self, name: str) -> int:
        """Note a request of a principal; return how many principals have sent some lately."""
        recent, now = self._recent, monotonic()
        recent[name] = now
        recent.move_to_end(name)
        while next(iter(recent.values())) < now - RECENT_SECONDS:
            recent.popitem(last=False)
        return len(recent)

    def _refusal(self, size: int) -> Overloaded | TooLarge:
        if size > self._most_bytes:
            return TooLarge(
                f"{self._what} takes requests of {self._most_bytes} bytes of data at most; "
                f"this one has {size}."
            )
        if self.requests >= self._most:
            return Overloaded.of(self._what, f"{self._most} requests", f"{self._kind}_requests")
        return Overloaded.of(self._what, f"{self.bytes} bytes of requests", f"{self._kind}_bytes")


def size_of_arguments(arguments: Arguments) -> int:
    """Bytes of the body of a request to a custom handler; arguments from Python count nothing."""
    return len(arguments.body) if isinstance(arguments, HandlerRequest) else 0
