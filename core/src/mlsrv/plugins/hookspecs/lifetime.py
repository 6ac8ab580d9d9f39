"""Lifetime hooks: the hooks of the boot that extend a server while it runs."""

# mypy: disable-error-code="empty-body"
# A specification has a signature and a docstring, and never a body.

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from mlsrv.plugins.markers import hookspec

if TYPE_CHECKING:
    from mlsrv.authorization import Authorizer
    from mlsrv.kernel_api import KernelAPI
    from mlsrv_telemetry_kit.metrics import Metric


@hookspec
def mlsrv_extensions() -> str | Iterable[str]:
    """Name the extensions of the protocol that a plugin implements for every transport.

    Called once for each kernel, in the main process. The server metadata lists them beside the extensions of
    the transports that are started and those of the setting ``extensions``.

    Returns:
        One name or several. None means none.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_extensions(self):
        ...         return "pigeon_post"
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> kernel.server_metadata().extensions
        ['pigeon_post', 'schedule_policy', 'statistics']
    """


@hookspec
def mlsrv_metrics() -> Metric | Iterable[Metric]:
    """List the metrics that a plugin records, for tables, dashboards and alert rules of a backend.

    Called when the metrics are asked for (`Plugins.metrics`), in the main process, whether the kernel has
    booted or not.

    Returns:
        One metric or several. None means none. Two metrics of one name that differ are an error.

    Example:
        >>> import mlsrv
        >>> from mlsrv.metrics import Metric
        >>> SENT = Metric("pigeons_sent", "Pigeons that were sent.", "counter", ("loft",))
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_metrics(self):
        ...         return SENT
        >>> kernel = mlsrv.Kernel(plugins=[Plugin()], discover=False)
        >>> SENT in kernel.plugins.metrics()
        True
    """


@hookspec
def mlsrv_lifespan(kernel: KernelAPI) -> AbstractAsyncContextManager[object]:
    """Give the kernel something to enter at boot and to leave at the end, for example a connection.

    Called once for each boot, in the main process, after the executors are there and before models load. The
    managers are entered in the order of plugin names and left in reverse; one that raises stops the boot.

    Args:
        kernel: the kernel that boots.

    Returns:
        An async context manager. None means that there is nothing to enter.

    Example:
        >>> import asyncio, contextlib, mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_lifespan(self, kernel):
        ...         @contextlib.asynccontextmanager
        ...         async def hello():
        ...             print("hello")
        ...             yield
        ...             print("goodbye")
        ...         return hello()
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], discover=False):
        ...         print("serving")
        >>> asyncio.run(main())
        hello
        serving
        goodbye
    """


@hookspec
def mlsrv_authorize(kernel: KernelAPI) -> Authorizer:
    """Decide who may do what.

    Called once for each boot, in the main process, after the lifespans were entered. Each transport then asks
    before it reads the body of a request, and answers what is not allowed with its code for UNAUTHENTICATED,
    PERMISSION_DENIED or RATE_LIMITED.

    Args:
        kernel: the kernel that boots.

    Returns:
        An `mlsrv.authorization.Authorizer`. None means that the plugin does not decide; without any, all
        requests are let in. Two authorizers stop the boot.

    Example:
        >>> import asyncio, mlsrv
        >>> from mlsrv.authorization import AccessRequest, Authorizer, Principal
        >>> from mlsrv.errors import Unauthenticated
        >>> class Passwords(Authorizer):
        ...     async def authorize(self, access):
        ...         if access.headers.get("x-password") != "open sesame":
        ...             raise Unauthenticated("The password is missing or wrong.")
        ...         return Principal("ali", {"infer": ["treasure-*"]})
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_authorize(self, kernel):
        ...         return Passwords()
        >>> async def main():
        ...     async with mlsrv.Kernel(plugins=[Plugin()], discover=False) as kernel:
        ...         headers = {"x-password": "open sesame"}
        ...         principal = await kernel.guard.admit(AccessRequest("infer", headers))
        ...         print(principal.name, principal.visible("infer", ["treasure-1", "cave"]))
        >>> asyncio.run(main())
        ali ['treasure-1']
    """
