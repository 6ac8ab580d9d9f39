"""Control: health, metadata, configuration, statistics and repository, every call but inference.

Source: Open Inference Protocol, "gRPC"; Triton's extensions for the last three.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from mlsrv.authorization import AccessRequest, action_of, check_repository_api, requires
from mlsrv.errors import InvalidPayload, Unsupported
from mlsrv.kernel_api import KernelAPI
from mlsrv.settings import KernelSettings
from mlsrv_grpc.access import host_of
from mlsrv_grpc.guarded import check_model, current_admitted, visible
from mlsrv_grpc.observer import note_model
from mlsrv_grpc.status import Rpc, refuse
from mlsrv_protocol.configuration import model_configuration
from mlsrv_protocol.grpc import INFERENCE, message_class, parse
from mlsrv_transport_kit import statistics_of

Respond = Callable[[Any], Awaitable[dict[str, Any]]]

_CONTROL = ("RepositoryModelLoad", "RepositoryModelUnload")
_FIELDS = ((bool, "bool_param"), (int, "int64_param"), (float, "double_param"), (str, "string_param"))

_UNSUPPORTED = {
    "SystemSharedMemoryStatus": "system shared memory",
    "SystemSharedMemoryRegister": "system shared memory",
    "SystemSharedMemoryUnregister": "system shared memory",
    "CudaSharedMemoryStatus": "CUDA shared memory",
    "CudaSharedMemoryRegister": "CUDA shared memory",
    "CudaSharedMemoryUnregister": "CUDA shared memory",
    "TraceSetting": "the trace extension",
    "LogSettings": "the logging extension",
}


class Control:
    """One method for each call: takes the request message, returns the fields of the response message."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel
        self._settings = kernel.settings.of(KernelSettings)

    def methods(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """Return handlers by the name of the call, including those of unsupported calls."""
        methods: dict[str, Respond] = {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.server_metadata,
            "ModelMetadata": self.model_metadata,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.repository_model_load,
            "RepositoryModelUnload": self.repository_model_unload,
        }
        return {name: _handler(self._kernel, name, respond) for name, respond in methods.items()} | {
            name: _unsupported(feature) for name, feature in _UNSUPPORTED.items()
        }

    @requires("health")
    async def server_live(self, request: Any) -> dict[str, Any]:
        """Answer true as long as the process answers."""
        return {"live": True}

    @requires("health")
    async def server_ready(self, request: Any) -> dict[str, Any]:
        """Answer whether every model that should be loaded is loaded."""
        return {"ready": self._kernel.ready}

    @requires("health")
    async def model_ready(self, request: Any) -> dict[str, Any]:
        """Answer whether a model is ready; an unknown one is NOT_FOUND."""
        check_model(request.name)
        return {"ready": self._kernel.model_ready(request.name, request.version or None)}

    @requires("metadata")
    async def server_metadata(self, request: Any) -> dict[str, Any]:
        """Answer name, version and extensions of the server."""
        metadata = self._kernel.server_metadata()
        return {"name": metadata.name, "version": metadata.version, "extensions": metadata.extensions}

    @requires("metadata")
    async def model_metadata(self, request: Any) -> dict[str, Any]:
        """Answer platform, versions, inputs and outputs of a model."""
        check_model(request.name)
        metadata = self._kernel.model_metadata(request.name, request.version or None)
        return {
            "name": metadata.name,
            "versions": metadata.versions,
            "platform": metadata.platform,
            "inputs": [_tensor(tensor) for tensor in metadata.inputs],
            "outputs": [_tensor(tensor) for tensor in metadata.outputs],
        }

    @requires("metadata")
    async def model_config(self, request: Any) -> dict[str, Any]:
        """Answer the fields of the configuration that clients read."""
        name, version = request.name, request.version or None
        check_model(name)
        instance = self._kernel.handle(name, version).loaded()
        info = instance.placement.info
        config = model_configuration(
            self._kernel.model_metadata(name, version),
            # The field is that of a plugin, which need not be installed.
            max_batch_size=getattr(instance.settings, "max_batch_size", 0),
            decoupled=info.streams and not info.predicts,
        )
        return {"config": config}

    @requires("metadata")
    async def model_statistics(self, request: Any) -> dict[str, Any]:
        """Answer the statistics of all models, of all versions of a model, or of one version."""
        if request.name:
            check_model(request.name)
        found = await statistics_of(self._kernel, request.name or None, request.version or None)
        return {"model_stats": visible(found, lambda statistics: str(statistics["name"]))}

    @requires("repository")
    async def repository_index(self, request: Any) -> dict[str, Any]:
        """Answer every version of every model with its state; with ``ready`` only those that are ready."""
        check_repository_api(self._settings.repository_api, changes=False)
        found = await self._kernel.index(True if request.ready else None)
        return {
            "models": [
                {
                    "name": item.name,
                    "version": item.version or "",
                    "state": item.state.value,
                    "reason": item.reason,
                }
                for item in visible(found, lambda item: item.name)
            ]
        }

    @requires("repository")
    async def repository_model_load(self, request: Any) -> dict[str, Any]:
        """Load or reload a model."""
        for key in request.parameters:
            if key == "config" or key.startswith("file:"):
                raise InvalidPayload(
                    f"parameters.{key} would upload a model, which is not supported; "
                    "put the model into the repository."
                )
        name = _model_name(request)
        self._check_control(name)
        await self._kernel.load(name)
        return {"model_name": name, "isLoaded": True}

    @requires("repository")
    async def repository_model_unload(self, request: Any) -> dict[str, Any]:
        """Unload all versions of a model."""
        name = _model_name(request)
        self._check_control(name)
        await self._kernel.unload(name)
        return {"model_name": name, "isUnloaded": True}

    def _check_control(self, model: str) -> None:
        """Raise `PermissionDenied` if the client may not load and unload the model here."""
        check_model(model)
        check_repository_api(self._settings.repository_api, changes=True)


def _handler(kernel: KernelAPI, name: str, respond: Respond) -> grpc.RpcMethodHandler[bytes, bytes]:
    request_name, response_name = f"inference.{name}Request", f"inference.{name}Response"

    @requires(action_of(respond))
    async def handle(body: bytes, rpc: Rpc) -> bytes:
        try:
            request = parse(message_class(request_name), body)
            note_model(_name_in(request))
            if name not in _CONTROL or kernel.audit is None:
                fields = await respond(request)
            else:
                with kernel.audit.control(*_noted(request, name, rpc)):
                    fields = await respond(request)
            return bytes(message_class(response_name)(**fields).SerializeToString())
        except Exception as error:
            problem = error
        await refuse(rpc, problem)

    return grpc.unary_unary_rpc_method_handler(handle)


def _noted(request: Any, name: str, rpc: Rpc) -> tuple[AccessRequest, str | None]:
    """Return what the audit log says of a control call: what was asked for, and who asked."""
    call = current_admitted.get()
    access = AccessRequest(
        "repository",
        model=request.model_name or request.repository_name,
        transport="grpc",
        operation=f"/{INFERENCE}/{name}",
        peer=host_of(rpc.peer()),
    )
    return access, None if call is None else call.principal.name


def _unsupported(feature: str) -> grpc.RpcMethodHandler[bytes, bytes]:
    @requires(None)
    async def handle(body: bytes, rpc: Rpc) -> bytes:
        await refuse(rpc, Unsupported(f"This server does not support {feature}."))

    return grpc.unary_unary_rpc_method_handler(handle)


def _tensor(tensor: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype.value, "shape": tensor.shape}
    if tensor.parameters is not None:
        values = {key: _parameter(value) for key, value in tensor.parameters.items()}
        made["parameters"] = {key: value for key, value in values.items() if value is not None}
    return made


def _parameter(value: object) -> Any:
    """Return a parameter as its message; None for one that gRPC has no field for."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return None
    for kind, name in _FIELDS:
        if isinstance(value, kind):
            return message_class("inference.InferParameter")(**{name: value})
    return None


def _name_in(request: Any) -> str:
    """Return the model that a request names, or an empty string."""
    names = (getattr(request, field, "") for field in ("name", "model_name", "repository_name"))
    return str(next(filter(None, names), ""))


def _model_name(request: Any) -> str:
    """Return the model of a repository request; Triton's and KServe's clients set different fields."""
    name = request.model_name or request.repository_name
    if not name:
        raise InvalidPayload("model_name is empty; name the model.")
    return str(name)
