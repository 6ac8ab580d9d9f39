"""Generic suites: made from the offers of a plugin alone, without samples of its author."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs
import pytest

from mlsrv.codecs import InputCodec, RequestCodec
from mlsrv.executor import ModelInfo
from mlsrv.interceptor import Interceptor
from mlsrv.kernel.kernel import Kernel
from mlsrv.plugins.manager import Plugins
from mlsrv.plugins.offers import CodecOffer, SettingsOffer
from mlsrv.repository import ModelRepository
from mlsrv.settings import KernelModelSettings, KernelSettings, ModelSettings
from mlsrv.testing.models import EchoModel
from mlsrv.transport import Transport
from mlsrv_protocol.types import InferenceRequest
from mlsrv_testing.checks.connecting import connect
from mlsrv_testing.contracts import (
    ExecutorContract,
    InputCodecContract,
    InterceptorContract,
    PluginContract,
    RepositoryContract,
    RequestCodecContract,
    RuntimeContract,
    TransportClient,
    TransportContract,
)


def plugin_suite(plugin: object) -> type:
    """The rules that every plugin keeps."""
    return type("TestPlugin", (PluginContract,), {"plugin": plugin})


def input_codec_suite(codec: type[InputCodec], values: Sequence[Any]) -> type:
    """A codec of tensors, tried with values that it encodes."""
    return type("TestInputCodec", (InputCodecContract,), {"codec": codec, "samples": values})


def request_codec_suite(
    codec: type[RequestCodec], values: Sequence[Any], offers: Iterable[CodecOffer]
) -> type:
    """A codec of requests, with the codecs of tensors that it may use."""
    fields = {"codec": codec, "samples": values, "offers": tuple(offers)}
    return type("TestRequestCodec", (RequestCodecContract,), fields)


def runtime_suite(model: ModelSettings, given: Sequence[InferenceRequest], among: Plugins) -> type:
    """A runtime, tried with a model and requests that it answers, among the plugins of this environment."""

    class TestRuntime(RuntimeContract):
        plugins = among.given
        discover = among.discovering

        def settings(self, tmp_path: Path) -> ModelSettings:
            return model.copy(parameters=attrs.evolve(model.parameters))

        def requests(self) -> Sequence[InferenceRequest]:
            return given

    return TestRuntime


def repository_suite(repository: type[ModelRepository]) -> type:
    """A repository, as far as it can be tried without putting models into it."""

    class TestRepository(RepositoryContract):
        def make(self, root: Path) -> ModelRepository:
            return repository(str(root))

        def add(self, root: Path, name: str, version: str | None = None) -> NoReturn:
            pytest.skip("only a suite of the author can put models into this repository")

    return TestRepository


def executor_suite(name: str, plugin: object, values: Mapping[str, Any]) -> type:
    """An executor, tried with the models of `mlsrv.testing`."""

    class TestExecutor(ExecutorContract):
        server_settings = _known(plugin, "server", values)
        executor = name

        def plugins(self) -> Sequence[object]:
            return [plugin]

    return TestExecutor


def transport_suite(name: str, plugin: object, values: Mapping[str, Any]) -> type:
    """A transport, tried by a client of REST or gRPC."""
    ports = [key for key in _keys(plugin, "server") if key.endswith("_port")]
    given = {"host": "127.0.0.1", **dict.fromkeys(ports, 0), **_known(plugin, "server", values)}

    class TestTransport(TransportContract):
        server_settings = given
        transport = name

        def plugins(self) -> Sequence[object]:
            return [plugin]

        async def connect(self, transport: Transport) -> TransportClient:
            # One that was stopped no longer tells, and must not be reached where it was.
            endpoints = self.__dict__.setdefault("endpoints", transport.endpoints)
            return connect(endpoints[0] if endpoints else "none")

        def occupied(self, transport: Transport) -> Mapping[str, Any]:
            if len(ports) != 1:
                pytest.skip("it has not just one setting that ends in _port")
            return {ports[0]: int(transport.endpoints[0].rpartition(":")[2].rstrip("/"))}

    return TestTransport


def interceptor_suites(plugin: object, values: Mapping[str, Any]) -> list[tuple[str, type]]:
    """One suite for each interceptor that a plugin makes for a model, with the name of its class."""
    kernel = Kernel(_known(plugin, "server", values), plugins=[plugin], discover=False)
    model = ModelSettings(name="m", implementation=EchoModel, **_known(plugin, "model", values))
    resolved = kernel.resolve_model(model)

    def made() -> list[Interceptor]:
        return kernel.plugins.interceptors(kernel, resolved, ModelInfo())

    return [(type(one).__name__, _interceptor_suite(made, place)) for place, one in enumerate(made())]


def _interceptor_suite(made: Callable[[], list[Interceptor]], place: int) -> type:
    class TestInterceptor(InterceptorContract):
        def make(self) -> Interceptor:
            return made()[place]

    return TestInterceptor


def _keys(plugin: object, scope: str) -> set[str]:
    own = {"server": KernelSettings, "model": KernelModelSettings}[scope]
    offers = Plugins([plugin], discover=False).offers(SettingsOffer)
    classes = [own, *(offer.cls for offer in offers if offer.scope == scope)]
    return {field.name for cls in classes for field in attrs.fields(cls)}


def _known(plugin: object, scope: str, values: Mapping[str, Any]) -> dict[str, Any]:
    keys = _keys(plugin, scope)
    return {key: value for key, value in values.items() if key in keys}
