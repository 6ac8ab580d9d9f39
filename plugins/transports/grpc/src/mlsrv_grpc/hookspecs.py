"""Hook specifications: hooks that this plugin adds to those of the kernel."""

# mypy: disable-error-code="empty-body"
# A specification has a signature and a docstring, but no body.

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mlsrv.plugins.markers import hookspec

if TYPE_CHECKING:
    import grpc.aio

    from mlsrv.kernel_api import KernelAPI
    from mlsrv_grpc.service import Service


@hookspec
def mlsrv_grpc_services(kernel: KernelAPI) -> Service | Iterable[Service]:
    """Add services to the gRPC server, beside those of the protocol.

    Called once when the transport starts, in the main process. The behaviours run on the server's event loop
    and receive the requests that the deserialisers of their handlers make. Two services of one name stop the
    start.

    A behaviour says which right it needs with `mlsrv.authorization.requires`, else it needs ``admin``. Where
    an authorizer is installed, it must be a coroutine function or an asynchronous generator function.

    Args:
        kernel: the kernel; models are still loading when the hook is called.

    Returns:
        One `mlsrv_grpc.Service` or several. None means none.

    Example:
        >>> import asyncio, grpc, mlsrv, mlsrv_grpc.plugin
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_grpc_services(self, kernel):
        ...         async def count(request, context):
        ...             return str(len(kernel.model_names())).encode()
        ...         methods = {"Count": grpc.unary_unary_rpc_method_handler(count)}
        ...         handler = grpc.method_handlers_generic_handler("acme.Models", methods)
        ...         return mlsrv_grpc.Service("acme.Models", handler)
        >>> settings = {"host": "127.0.0.1", "grpc_port": 0}
        >>> kernel = mlsrv.Kernel(settings, plugins=[mlsrv_grpc.plugin, Plugin()], discover=False)
        >>> async def main():
        ...     transport = mlsrv_grpc.GrpcTransport(kernel)
        ...     async with kernel:
        ...         await transport.start()
        ...         address = transport.endpoints[0].removeprefix("grpc://")
        ...         async with grpc.aio.insecure_channel(address) as channel:
        ...             print(await channel.unary_unary("/acme.Models/Count")(b""))
        ...         await transport.stop(1)
        >>> asyncio.run(main())
        b'0'
    """


@hookspec
def mlsrv_grpc_interceptors(
    kernel: KernelAPI,
) -> grpc.aio.ServerInterceptor | Iterable[grpc.aio.ServerInterceptor]:
    """Intercept the calls to all services of the gRPC server, for example to trace or to admit them.

    Called once when the transport starts, in the main process.

    Args:
        kernel: the kernel; models are still loading when the hook is called.

    Returns:
        One interceptor or several. Those of plugins whose names sort first are outermost. None means none.

    Example:
        >>> import asyncio, grpc, mlsrv, mlsrv_grpc.plugin
        >>> class PrintMethods(grpc.aio.ServerInterceptor):
        ...     async def intercept_service(self, continuation, handler_call_details):
        ...         print(handler_call_details.method)
        ...         return await continuation(handler_call_details)
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_grpc_interceptors(self, kernel):
        ...         return PrintMethods()
        >>> settings = {"host": "127.0.0.1", "grpc_port": 0}
        >>> kernel = mlsrv.Kernel(settings, plugins=[mlsrv_grpc.plugin, Plugin()], discover=False)
        >>> async def main():
        ...     transport = mlsrv_grpc.GrpcTransport(kernel)
        ...     async with kernel:
        ...         await transport.start()
        ...         address = transport.endpoints[0].removeprefix("grpc://")
        ...         async with grpc.aio.insecure_channel(address) as channel:
        ...             await channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"")
        ...         await transport.stop(1)
        >>> asyncio.run(main())
        /inference.GRPCInferenceService/ServerLive
    """
