"""gRPC transport: runs the gRPC server for a kernel."""

from __future__ import annotations

from collections.abc import Sequence

import grpc.aio

from mlsrv.kernel_api import KernelAPI
from mlsrv.settings import KernelSettings
from mlsrv.transport import Transport
from mlsrv_grpc.address import GrpcTLS, listen
from mlsrv_grpc.channel_arguments import channel_arguments
from mlsrv_grpc.services import Services, all_interceptors, all_services
from mlsrv_grpc.settings import GrpcSettings
from mlsrv_grpc.sockets import disconnect
from mlsrv_transport_kit import siblings_of


class GrpcTransport(Transport):
    """Listens on ``host`` and ``grpc_port``."""

    extensions = (
        "model_configuration",
        "model_repository",
        "parameters",
    )

    def __init__(self, kernel: KernelAPI) -> None:
        super().__init__(kernel)
        self._server: grpc.aio.Server | None = None
        self._services: Services | None = None
        self._tls: GrpcTLS | None = None
        self._endpoints: tuple[str, ...] = ()

    async def start(self) -> None:
        if self._server is not None:
            return
        settings = self.kernel.settings.of(GrpcSettings)
        common = self.kernel.settings.of(KernelSettings)
        tls = GrpcTLS.of(settings, common)
        services, siblings = all_services(self.kernel), siblings_of(self.kernel)
        server = grpc.aio.server(
            interceptors=all_interceptors(self.kernel, services.measured),
            options=channel_arguments(settings, share_port=siblings.share_ports),
            maximum_concurrent_rpcs=settings.grpc_max_concurrent_calls,
        )
        server.add_generic_rpc_handlers([services.router])
        url = listen(server, common.host, settings, tls, siblings)
        await server.start()
        self._server, self._services, self._endpoints, self._tls = server, services, (url,), tls

    async def stop(self, grace: float) -> None:
        server, services, endpoints = self._server, self._services, self._endpoints
        self._server = self._services = None
        self._endpoints = ()
        if server is None or services is None:
            return
        services.router.close()
        services.health.close()
        services.reader.close()
        await services.router.drain(grace)
        for url in endpoints:
            disconnect(int(url.rpartition(":")[2]))
        await server.stop(None)

    async def reload(self) -> None:
        if self._tls is not None:
            self._tls.reload()

    @property
    def endpoints(self) -> Sequence[str]:
        return self._endpoints
