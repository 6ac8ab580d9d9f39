"""Settings: those of the server and of models, under MLServer's names."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from mlserver.types import MetadataTensor
from mlserver.types.base import BaseModel

__all__ = ["CORSSettings", "ModelParameters", "ModelSettings", "Settings"]


class CORSSettings(BaseModel):
    """Rules for browsers of other origins."""

    allow_origins: list[str] | None = Field(default_factory=list)
    allow_origin_regex: str | None = None
    allow_credentials: bool | None = False
    allow_methods: list[str] | None = Field(default_factory=lambda: ["GET"])
    allow_headers: list[str] | None = Field(default_factory=list)
    expose_headers: list[str] | None = Field(default_factory=list)
    max_age: int | None = 600


class Settings(BaseModel):
    """Settings of the server. Fields that mlsrv alone has may be given, too."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    debug: bool = False
    parallel_workers: int = 1
    parallel_workers_timeout: int = 5
    environments_dir: str = ""
    model_repository_implementation: Any = None
    model_repository_root: str = "."
    model_repository_implementation_args: dict[str, Any] = Field(default_factory=dict)
    load_models_at_startup: bool = True
    server_name: str = "mlserver"
    server_version: str = ""
    extensions: list[str] = Field(default_factory=list)
    host: str = "0.0.0.0"
    http_port: int = 8080
    root_path: str = ""
    grpc_port: int = 8081
    grpc_max_message_length: int | None = None
    cors_settings: CORSSettings | None = None
    metrics_endpoint: str | None = "/metrics"
    metrics_port: int = 8082
    metrics_rest_server_prefix: str = "rest_server"
    metrics_dir: str = ""
    use_structured_logging: bool = False
    logging_settings: str | dict[str, Any] | None = None
    kafka_enabled: bool = False
    kafka_servers: str = "localhost:9092"
    kafka_topic_input: str = "mlserver-input"
    kafka_topic_output: str = "mlserver-output"
    tracing_server: str | None = None
    cache_enabled: bool = False
    cache_size: int = 100
    gzip_enabled: bool = True


class ModelParameters(BaseModel):
    """Parameters of one version of a model."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    uri: str | None = None
    version: str | None = None
    environment_path: str | None = None
    environment_tarball: str | None = None
    inference_pool_gid: str | None = None
    autogenerate_inference_pool_gid: bool = False
    format: str | None = None
    content_type: str | None = None
    extra: dict[str, Any] | None = Field(default_factory=dict)


class ModelSettings(BaseModel):
    """Settings of one version of a model.

    Attributes:
        implementation_: the dotted path of its class.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())

    implementation_: str = Field(default="", alias="implementation")
    name: str = ""
    platform: str = ""
    versions: list[str] = Field(default_factory=list)
    inputs: list[MetadataTensor] = Field(default_factory=list)
    outputs: list[MetadataTensor] = Field(default_factory=list)
    parallel_workers: int | None = None
    warm_workers: bool = False
    max_batch_size: int = 0
    max_batch_time: float = 0.0
    parameters: ModelParameters | None = None
    cache_enabled: bool = False

    _source: str | None = PrivateAttr(default=None)
    _class: type | None = PrivateAttr(default=None)
    _ours: Any = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_class(cls, values: Any, handler: Any) -> Any:
        found = values.get("implementation") if isinstance(values, dict) else None
        if not isinstance(found, type):
            return handler(values)
        made = handler({**values, "implementation": f"{found.__module__}.{found.__qualname__}"})
        made._class = found
        return made

    @property
    def implementation(self) -> Any:
        """The class of the model."""
        if self._class is None:
            module, _, name = self.implementation_.rpartition(".")
            self._class = getattr(import_module(module), name)
        return self._class

    @property
    def version(self) -> str | None:
        """The version of the model, or None."""
        return None if self.parameters is None else self.parameters.version

    @classmethod
    def parse_file(cls, path: str | Path, **options: Any) -> Self:
        """Read a ``model-settings.json``; the settings know the file as their source."""
        made = cls.model_validate(json.loads(Path(path).read_text(encoding="utf-8")))
        made._source = str(Path(path).absolute())
        return made
