"""Siblings: the other processes of one server, which listen on the same ports.

``mlsrv start --processes N`` runs several kernels. A client reaches any of them, so what is said about the
server must be true of all: transports ask the siblings of their process before they answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from mlsrv.kernel_api import KernelAPI
from mlsrv_transport_kit.metric_sums import Family
from mlsrv_transport_kit.statistic_sums import summed

__all__ = ["Answer", "Siblings", "siblings_of", "statistics_of"]

Answer: TypeAlias = Callable[[Any], Awaitable[Any]]
"""Answers a question of a sibling; argument and answer are plain data of JSON."""


class Siblings:
    """The siblings of a process that has none; subclasses reach real ones.

    Attributes:
        share_ports: whether there may be siblings, with which sockets must share their ports.
        are_there: whether some may listen already, so that a port in use is no fault.
        ports: those that the first process was given by the system, by the setting that left it the choice.
        answers: what this process answers to questions of siblings, by topic.
    """

    share_ports = False
    are_there = False

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.answers: dict[str, Answer] = {}

    async def ask(self, topic: str, argument: Any = None) -> Sequence[Any]:
        """Return the answer of each sibling to a question.

        Raises:
            MLSrvError: a sibling does not answer, or answers with an error.
        """
        return ()

    async def sum_metrics(self, own: Sequence[Family]) -> Sequence[Family]:
        """Return the metrics of all processes as one, also of those that have ended.

        Args:
            own: those of this process.
        """
        return own

    def close(self) -> None:
        """Nothing is to be closed: the process ends with its siblings' connection."""


def siblings_of(kernel: KernelAPI) -> Siblings:
    """Return the siblings of the process in which a kernel runs."""
    return kernel.shared.get(Siblings, Siblings)


async def statistics_of(
    kernel: KernelAPI, name: str | None = None, version: str | None = None
) -> list[dict[str, Any]]:
    """Return `KernelAPI.statistics`, summed over all processes of the server.

    Raises:
        MLSrvError: as `KernelAPI.statistics`, or a sibling does not answer.
    """
    own = kernel.statistics(name, version)
    siblings = siblings_of(kernel)
    return summed([own, *await siblings.ask("statistics", [name, version])]) if siblings.share_ports else own
