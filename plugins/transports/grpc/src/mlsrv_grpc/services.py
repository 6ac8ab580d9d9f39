"""Services: those of the protocol, of gRPC itself and of plugins, and the interceptors around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial

import grpc.aio
from attrs import frozen

from mlsrv.authorization import action_of
from mlsrv.errors import ConfigurationError
from mlsrv.kernel_api import KernelAPI
from mlsrv.settings import KernelSettings
from mlsrv_grpc.call_metrics import MethodMetrics, measured_methods
from mlsrv_grpc.control import Control
from mlsrv_grpc.delivery import Delivery
from mlsrv_grpc.drain import DrainableRouter
from mlsrv_grpc.guarded import GuardedHandlers
from mlsrv_grpc.handler_wrapping import behaviour_of
from mlsrv_grpc.health import Health
from mlsrv_grpc.infer import Infer
from mlsrv_grpc.message_budget import MessageBudget
from mlsrv_grpc.observer import CallObserver
from mlsrv_grpc.reflection import Reflection
from mlsrv_grpc.service import Service
from mlsrv_grpc.settings import GrpcSettings
from mlsrv_grpc.stream import StreamInfer
from mlsrv_grpc.stream_reader import StreamReader
from mlsrv_grpc.without_control import WithoutControl
from mlsrv_protocol.grpc import HEALTH, INFERENCE, REFLECTION, Descriptors, file_of

_SERVICES = "mlsrv_grpc_services"
_INTERCEPTORS = "mlsrv_grpc_interceptors"
_OWN = (INFERENCE, HEALTH, *REFLECTION)
_OF_REPOSITORY = ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload")
_OLD_REPOSITORY = "inference.model_repository.ModelRepositoryService"
"""The service that had the methods of the repository in early versions of MLServer; clients still ask it."""


@frozen
class Services:
    """The services of one server.

    Attributes:
        router: dispatches calls to all of them; to be added to the server and drained when it stops.
        health: to be closed when the server stops.
        reader: likewise.
        measured: the metrics of the methods that have some, by their full name.
    """

    router: DrainableRouter
    health: Health
    reader: StreamReader
    measured: Mapping[str, MethodMetrics]


def all_services(kernel: KernelAPI) -> Services:
    """Make the services of a kernel.

    Raises:
        ConfigurationError: two services have one name, or a plugin returned another type or invalid files.
    """
    added = _plugin_services(kernel)
    names = (*_OWN, *added)
    settings = kernel.settings.of(GrpcSettings)
    delivery = Delivery(settings.grpc_send_timeout, settings.grpc_max_unsent_bytes)
    budget = MessageBudget(settings.total_limit, kernel)
    reader, health = StreamReader(), Health(kernel, names)
    descriptors = cache(partial(_descriptors, added))
    if added:
        descriptors()  # files that do not fit stop the start
    control = Control(kernel).methods()
    own: dict[str, dict[str, grpc.RpcMethodHandler[bytes, bytes]]] = {
        INFERENCE: control
        | {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(Infer(kernel).__call__),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(
                StreamInfer(
                    kernel, reader, delivery, budget, plain=settings.grpc_stream_responses == "plain"
                ).__call__
            ),
        },
        HEALTH: health.methods(),
        _OLD_REPOSITORY: {name: control[name] for name in _OF_REPOSITORY},
    }
    for name in REFLECTION if settings.grpc_reflection else ():
        own[name] = Reflection(name, names, descriptors, reader).methods()
    handlers: list[grpc.GenericRpcHandler] = [
        grpc.method_handlers_generic_handler(name, methods) for name, methods in own.items()
    ]
    handlers += [service.handler for _, service in added.values()]
    if kernel.settings.of(KernelSettings).admin_port is not None:
        handlers = [WithoutControl(handlers)]
    if kernel.guard is not None:
        actions = {
            f"/{service}/{name}": action_of(behaviour_of(handler))
            for service, methods in own.items()
            for name, handler in methods.items()
        }
        handlers = [GuardedHandlers(handlers, actions, kernel.guard, budget)]
    measured = measured_methods(kernel.metrics, own)
    return Services(DrainableRouter(handlers, delivery, budget), health, reader, measured)


def all_interceptors(
    kernel: KernelAPI, measured: Mapping[str, MethodMetrics]
) -> list[grpc.aio.ServerInterceptor]:
    """Return the interceptors of every call, outermost first: the observer, if there are meters or an access
    log, then those of plugins.

    Args:
        kernel: has the plugins, meters and access log.
        measured: the metrics of methods, by their full name.

    Raises:
        ConfigurationError: a plugin returned another type.
    """
    observes = measured or kernel.settings.of(KernelSettings).access_log
    found: list[grpc.aio.ServerInterceptor] = [CallObserver(kernel, measured)] if observes else []
    for label, interceptor in _results(kernel, _INTERCEPTORS):
        if not isinstance(interceptor, grpc.aio.ServerInterceptor):
            raise ConfigurationError(
                f"The plugin {label} returned a {type(interceptor).__name__} for {_INTERCEPTORS}, "
                "not a grpc.aio.ServerInterceptor."
            )
        found.append(interceptor)
    return found


def _plugin_services(kernel: KernelAPI) -> dict[str, tuple[str, Service]]:
    """Return the services of plugins by name, each with the label of its plugin."""
    found: dict[str, tuple[str, Service]] = {}
    for label, service in _results(kernel, _SERVICES):
        if not isinstance(service, Service):
            raise ConfigurationError(
                f"The plugin {label} returned a {type(service).__name__} for {_SERVICES}, "
                "not a mlsrv_grpc.Service."
            )
        if service.name in _OWN or service.name in found:
            other = "mlsrv-grpc" if service.name in _OWN else found[service.name][0]
            raise ConfigurationError(
                f"The gRPC service {service.name} comes from both {other} and {label}; block one of them."
            )
        found[service.name] = label, service
    return found


def _results(kernel: KernelAPI, hook: str) -> Iterator[tuple[str, object]]:
    for label, result in kernel.each(hook, kernel=kernel):
        for part in result if isinstance(result, Iterable) else (result,):
            yield label, part


def _descriptors(added: Mapping[str, tuple[str, Service]]) -> Descriptors:
    files = [file_of(name) for name in _OWN]
    for label, service in added.values():
        try:
            Descriptors((*files, *service.files))
        except ValueError as error:
            raise ConfigurationError(
                f"The plugin {label} brings files for {service.name} that do not fit: {error}"
            ) from error
        files += service.files
    return Descriptors(files)
