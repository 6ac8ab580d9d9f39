"""Server settings: those of the kernel, beside which those of plugins stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mlsrv_settings_kit.fields import setting, settings_class
from mlsrv_settings_kit.sections import FlatSettings, Layer, Owner, resolve

KERNEL_DISTRIBUTION = "mlsrv-core"


@settings_class
class KernelSettings:
    """The server settings that the kernel owns; all others belong to plugins."""

    debug: bool = setting(False, help="Log more: debug level, and the traceback of every failed request.")
    server_name: str = setting("mlsrv", help="Name of the server in its metadata.")
    server_version: str | None = setting(
        None, help="Version of the server in its metadata; the version of mlsrv-core when not set."
    )
    extensions: list[str] = setting(
        factory=list, help="Protocol extensions to list in the server metadata beside those of the plugins."
    )
    host: str = setting("0.0.0.0", help="Address on which the transports listen.")
    unloaded_models: Literal["not_ready", "not_found"] = setting(
        "not_ready",
        help="What clients of a model that is not loaded and need not be are told: that it is not ready "
        "(503), or not found (404), for agents that then load it.",
    )
    admin_host: str | None = setting(
        None, help="Address of the admin port and of the metrics; that of the other transports when not set."
    )
    admin_port: int | None = setting(
        None,
        help="Port of a second HTTP server, which alone takes calls that load and unload models, and what "
        "needs the right admin; those calls over gRPC are refused then. 0 takes a free one.",
        at_least=0,
    )
    repository_api: Literal["off", "read", "full"] = setting(
        "full",
        help="What clients may do with the repository: nothing, read the index, or load and unload, too.",
    )
    insecure: bool = setting(
        False,
        help="Do not warn that everything is open to other machines, where no authorizer is installed, nor "
        "that the server runs as root.",
    )
    audit_log: str | None = setting(
        None,
        help="File that gets a JSON line for each call that loads or unloads a model, and for each refusal.",
        path=True,
    )
    tls_cert: str | None = setting(
        None,
        help="Certificate chain (PEM file) of every transport that has none of its own, and of the metrics.",
        path=True,
    )
    tls_key: str | None = setting(
        None, help="Private key of the certificate (PEM file), if it is not in that file.", path=True
    )
    tls_ca: str | None = setting(
        None,
        help="Certificates of authorities (PEM file); clients must then show a certificate signed by one.",
        path=True,
    )
    tls_minimum_version: Literal["1.2", "1.3"] = setting(
        "1.2", help="Oldest version of TLS that is accepted; over gRPC always 1.2."
    )
    tls_ciphers: str | None = setting(None, help="Ciphers for TLS 1.2, in the form of OpenSSL; not for gRPC.")
    load_models_at_startup: bool = setting(True, help="Load every model of the repository at the start.")
    on_load_failure: Literal["serve", "exit"] = setting(
        "serve",
        help="When a model fails to load at the start: serve the others and answer not ready, or exit.",
    )
    model_repository_root: str | None = setting(
        None, help="Folder (or other root) in which models are looked for.", path=True
    )
    model_repository_implementation: str | None = setting(
        None,
        help="Kind of repository: a name that a plugin offers, or a class's dotted path. Default: files.",
    )
    model_repository_implementation_args: dict[str, Any] = setting(
        factory=dict, help="Further keyword arguments for the model repository."
    )
    model_repository_poll: float | None = setting(
        None,
        help="Seconds between looks at the repository for models that change, come or go; off if not set.",
        at_least=0.01,
    )
    executor: str | None = setting(
        None,
        help="Where models run, by name; by default the best installed executor that takes the model.",
    )
    inline_threads: int | None = setting(
        None,
        help="Threads for synchronous code of models in this process; default: number of cores + 4.",
        at_least=1,
    )
    inline_short_calls: bool = setting(
        False,
        help="Run a synchronous predict in this process on the event loop while its calls take less than a "
        "millisecond, which saves the way to a thread; a call that hangs then stops the server.",
    )
    max_in_flight: int = setting(
        1000,
        help="Requests that one model may have waiting or running; one more is refused as overload.",
        at_least=1,
    )
    max_in_flight_bytes: int = setting(
        2**30, help="Bytes of data that the requests of one model may have waiting or running.", at_least=1
    )
    max_total_in_flight: int = setting(
        10_000, help="Requests that all models together may have waiting or running.", at_least=1
    )
    max_total_in_flight_bytes: int = setting(
        2**31,
        help="Bytes of data that the requests of all models together may have waiting or running.",
        at_least=1,
    )
    request_timeout: float | None = setting(
        60.0,
        help="Seconds that a model may take for a request, and for each response of a stream; a client may "
        "ask for less. null: no limit.",
        at_least=0.001,
    )
    load_timeout: float | None = setting(
        None,
        help="Seconds that a model may take to load; no limit when not set.",
        at_least=0.001,
    )
    shutdown_delay: float = setting(
        0.0,
        help="Seconds for which a server that stops is not ready but still accepts requests, so that load "
        "balancers notice first.",
        at_least=0,
    )
    shutdown_timeout: float = setting(
        10.0, help="Seconds that requests in flight get to finish when the server stops.", at_least=0
    )
    error_details: Literal["full", "class", "none"] | None = setting(
        None,
        help="What clients are told of an unexpected exception of a model: its text, its class, or nothing. "
        "Default: full if host is a loopback address, else class.",
    )
    use_structured_logging: bool = setting(False, help="Log JSON lines instead of text.")
    access_log: bool = setting(
        False, help="Log a line for each request, over any transport; health checks on debug level."
    )
    logging_settings: str | dict[str, Any] | None = setting(
        None,
        help="A logging configuration (dictConfig), or the path of a file with one (JSON or INI).",
        path=True,
    )

    def __attrs_post_init__(self) -> None:
        if self.tls_cert is None and (self.tls_key or self.tls_ca):
            raise ValueError("tls_cert: expected a file, because other TLS settings are given")


class Settings(FlatSettings):
    """Server settings, flat: fields of the kernel and of every plugin side by side.

    ``Settings(http_port=8085)`` holds values as they were written. A `Kernel` resolves them at boot against
    the fields that its plugins own, and hands the result out as ``kernel.settings``: ``settings.http_port``
    is the value, ``settings.of(RestSettings)`` one plugin's class, and iteration gives every value with its
    origin.

    Attributes:
        model_layer: model fields from the environment, or None.
        unread: why a model of which the environment tells is not served, if there is one; a server without
            any model is then not ready.
    """

    _own = Owner(KERNEL_DISTRIBUTION, KernelSettings)

    def __init__(self, /, **values: Any) -> None:
        super().__init__([Layer("code", values)] if values else [])
        self.model_layer: Layer | None = None
        self.unread: str | None = None

    @classmethod
    def from_layers(
        cls, layers: Sequence[Layer], model_layer: Layer | None = None, unread: str | None = None
    ) -> Settings:
        """Make settings from sources, the weakest first.

        `model_layer` holds model fields from the environment; `unread` is the attribute.
        """
        made = cls()
        made._layers = tuple(layers)
        made.model_layer = model_layer
        made.unread = unread
        return made

    def resolve(self, owners: Sequence[Owner], failed: Mapping[str, str] | None = None) -> Settings:
        """Return the same settings, converted and complete.

        Args:
            owners: the server settings classes of the plugins.
            failed: plugins that did not load, with the reason.

        Raises:
            ConfigurationError: with one sentence for each unknown key and each value of a wrong type.
        """
        made = Settings.from_layers(self._layers, self.model_layer, self.unread)
        made._sections = resolve([self._own, *owners], self._layers, failed)
        return made
