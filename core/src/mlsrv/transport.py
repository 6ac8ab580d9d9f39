"""Transport: a way in for requests over one protocol, such as HTTP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from mlsrv.kernel_api import KernelAPI

__all__ = ["Transport"]


class Transport(ABC):
    """Takes requests from clients, hands them to the kernel, and writes the answers back.

    The kernel makes one instance per boot. `start` and `stop` are idempotent. A transport translates bytes
    and errors; it decides nothing about models.
    """

    extensions: Sequence[str] = ()
    """Protocol extensions that this transport serves, listed in the server metadata once it is started."""

    takes_requests: ClassVar[bool] = True
    """True if requests to models come over it. A server without any such transport does not start: one for
    metrics is not enough."""

    def __init__(self, kernel: KernelAPI) -> None:
        self.kernel = kernel

    @abstractmethod
    async def start(self) -> None:
        """Bind and accept. Returns when requests are accepted.

        Raises:
            ConfigurationError: the address cannot be used; one sentence with the address in it.
        """

    @abstractmethod
    async def stop(self, grace: float) -> None:
        """Stop accepting at once, let requests in flight finish for up to `grace` seconds, then cut them."""

    async def reload(self) -> None:
        """Read files that were read at the start, such as certificates, again; connections go on.

        Raises:
            ConfigurationError: a file cannot be read or used; the old one stays in use.
        """
        return

    @property
    def endpoints(self) -> Sequence[str]:
        """URLs at which it listens once started, for example ``["http://127.0.0.1:8080"]``."""
        return ()

    @property
    def problem(self) -> str | None:
        """Reason why it no longer takes requests, in one sentence, or None."""
        return None
