"""KernelAPI: what plugins may use of a running kernel.

Executors, transports, interceptors and hooks are typed with the Protocols of this module, which only
`mlsrv.kernel.Kernel` implements. A test may pass any object that has the members that its plugin uses.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, overload

from attrs import define, field

from mlsrv.authorization import AccessRequest, Principal
from mlsrv.context import CallContext
from mlsrv.handlers import Arguments
from mlsrv.interceptor import Interceptor
from mlsrv.placement import ModelInfo, Placement
from mlsrv.plugin_resources import Shared
from mlsrv.repository import Listing
from mlsrv.settings import ModelSettings, Settings
from mlsrv_protocol.encoded import EncodedRequest, EncodedResponse
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    RepositoryIndexResponseItem,
    State,
)
from mlsrv_telemetry_kit.metrics import Meter, Metric, ProcessReading, Reading, Recorder, RowRecorder

__all__ = [
    "Access",
    "AccessNotes",
    "AuditNotes",
    "Guard",
    "KernelAPI",
    "LoadedModel",
    "Metrics",
    "ModelStatus",
    "PluginSet",
]


@define(eq=False)
class Access:
    """One answered request, for the access log.

    Attributes:
        transport: its name.
        request: the request line, for example ``"GET /v2"``.
        status: as the transport names it.
        seconds: from its arrival to the end of its answer.
        client: the address that it came from.
        context: of the request, if it was to a model.
        quiet: whether it is a health check, which is logged on debug level.
        time: of its end, in seconds since the epoch.
    """

    transport: str
    request: str
    status: int | str
    seconds: float
    client: str = ""
    context: CallContext | None = None
    quiet: bool = False
    time: float = field(factory=time.time)

    @property
    def level(self) -> int:
        """The level of its log record."""
        return logging.DEBUG if self.quiet else logging.INFO


class AccessNotes(Protocol):
    """Takes notes of answered requests for the access log."""

    def note(self, access: Access) -> None:
        """Have one line written. Neither blocks nor raises; call it on the event loop."""


class Guard(Protocol):
    """Lets requests in that may come in, where an authorizer is installed.

    Attributes:
        credential_headers: see `mlsrv.authorization.Authorizer`.
    """

    credential_headers: Collection[str]

    async def admit(self, access: AccessRequest) -> Principal:
        """Return who asks, once it may do what it asks for. A transport calls it before it reads a body.

        The credentials in ``access.headers``, if that is a dictionary, are replaced by the principal's name:
        code of models must not get the keys of clients.

        Raises:
            Unauthenticated: the credentials are missing or wrong.
            PermissionDenied: the principal lacks the right.
            RateLimited: it asks too often.
        """

    def check(self, access: AccessRequest, principal: Principal, model: str) -> None:
        """Raise `mlsrv.errors.PermissionDenied` if a principal that was let in may not do this to `model`,
        which the body names. Not needed for what goes through `KernelAPI.infer`, `stream` and `call`."""


class AuditNotes(Protocol):
    """Takes notes for the audit log."""

    def note(self, access: AccessRequest, principal: str | None, result: str) -> None:
        """Have a line written. Neither blocks nor raises."""

    def control(self, access: AccessRequest, principal: str | None) -> AbstractContextManager[None]:
        """Return a context in which a transport loads or unloads a model; what comes of it is noted."""


class Metrics(Protocol):
    """Records metrics with every meter of the kernel; false when there is no meter."""

    def __bool__(self) -> bool: ...

    def bind(self, metric: Metric, labels: Sequence[str] = ()) -> Recorder:
        """Return the recorder of one series, to be kept and called for each value. Raises `MetricClash`."""

    def bind_row(self, row: Sequence[tuple[Metric, Sequence[str]]]) -> RowRecorder:
        """Return the recorder of several series at once; see `mlsrv.metrics.Meter.bind_row`."""

    def observe_gauge(self, metric: Metric, reading: Reading) -> Callable[[], None]:
        """Show a gauge whose values are read at each export; calling the result ends that."""

    def observe_processes(self, reading: ProcessReading) -> Callable[[], None]:
        """Show metrics of other processes; see `mlsrv.metrics.Meter.observe_processes`."""

    def record(self, metric: Metric, value: float, labels: Sequence[str] = ()) -> None:
        """Record one value of a series that may be new."""


class LoadedModel(Protocol):
    """One loaded version of a model."""

    @property
    def settings(self) -> ModelSettings:
        """The resolved settings that it was loaded with."""

    @property
    def placement(self) -> Placement:
        """The placement that its executor returned."""

    @property
    def interceptors(self) -> Sequence[Interceptor]:
        """The interceptors of its requests, outermost first."""

    @property
    def in_flight(self) -> int:
        """Requests that wait or run now."""


class ModelStatus(Protocol):
    """One version of a model as the kernel knows it, loaded or not."""

    @property
    def name(self) -> str:
        """The name of the model."""

    @property
    def version(self) -> str | None:
        """The version, or None."""

    @property
    def label(self) -> str:
        """The name, with the version if there is one."""

    @property
    def state(self) -> State:
        """The state, as in the repository index."""

    @property
    def reason(self) -> str:
        """Why it is UNAVAILABLE, or why its last reload failed; else empty."""

    @property
    def settings(self) -> ModelSettings | None:
        """The latest settings, or None if the repository could not describe the model."""

    @property
    def info(self) -> ModelInfo | None:
        """The metadata of the loaded model, or None."""

    @property
    def ready(self) -> bool:
        """True if it answers requests now."""

    @property
    def problem(self) -> str | None:
        """Why it does not answer now, or None."""

    def loaded(self) -> LoadedModel:
        """Return the loaded model. Raises `mlsrv.errors.ModelNotReady`."""


class PluginSet(Protocol):
    """The plugins of a kernel, as far as another process needs to find the same ones."""

    @property
    def given(self) -> Sequence[object]:
        """The plugin objects that were handed to the kernel."""

    @property
    def discovering(self) -> bool:
        """True if installed plugins are loaded."""

    @property
    def blocked(self) -> frozenset[str]:
        """Names of plugins and distributions that are left out."""

    @property
    def active(self) -> Sequence[object]:
        """Every plugin object that takes part, sorted by name."""

    def codec_parameters(self) -> frozenset[str]:
        """Return the keys of tensor parameters that tell a codec how the data is encoded."""


class KernelAPI(Protocol):
    """A kernel as plugins see it."""

    @property
    def settings(self) -> Settings:
        """The server settings, resolved."""

    @property
    def plugins(self) -> PluginSet:
        """The plugins."""

    @property
    def metrics(self) -> Metrics:
        """Records with every meter."""

    @property
    def meters(self) -> Mapping[str, Meter]:
        """The meters by name."""

    @property
    def shared(self) -> Shared:
        """Objects that the hooks of plugins share; closed when the kernel is left."""

    @property
    def access(self) -> AccessNotes | None:
        """Takes notes for the access log while that is on and the kernel runs."""

    @property
    def audit(self) -> AuditNotes | None:
        """Takes notes for the audit log while that is on and the kernel runs."""

    @property
    def guard(self) -> Guard | None:
        """Decides about each request, while the kernel runs; None without an authorizer: all are let in."""

    @property
    def stopping(self) -> bool:
        """True from the moment when the server is asked to stop."""

    def each(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that a plugin added with ``mlsrv_addhooks``: (label of the plugin, result) pairs,
        without None; none for an unknown hook. Raises `PluginError` if an implementation raised."""

    # --- data plane ---------------------------------------------------------------------------------------

    def takes_encoded(self, name: str, version: str | None = None) -> bool:
        """Return whether `infer` takes encoded requests to a model: it is in another process, and nothing
        before it looks into them."""

    @overload
    async def infer(
        self, request: InferenceRequest, context: CallContext | None = None
    ) -> InferenceResponse: ...

    @overload
    async def infer(self, request: EncodedRequest, context: CallContext) -> EncodedResponse | None: ...

    async def infer(
        self, request: InferenceRequest | EncodedRequest, context: CallContext | None = None
    ) -> InferenceResponse | EncodedResponse | None:
        """Answer one request to the model that it names. Raises `mlsrv.errors.MLSrvError` only.

        The answer to an encoded request is None if it is not valid or not taken: decode it then.

        A context with a principal needs its right ``infer`` for the model: here, in `stream` and in `call`.
        """

    def stream(
        self, requests: InferenceRequest | AsyncIterator[InferenceRequest], context: CallContext | None = None
    ) -> AsyncIterator[InferenceResponse]:
        """Answer with any number of responses; closing the iterator stops the model. Raises as `infer`."""

    async def call(
        self,
        name: str,
        version: str | None,
        method: str,
        arguments: Arguments,
        context: CallContext | None = None,
    ) -> Any:
        """Call a custom handler of a model by its attribute name. Raises as `infer`."""

    # --- control plane ------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """True if every model that should be loaded is READY and its executor healthy."""

    def problems(self) -> list[str]:
        """Return why the server is not ready, one sentence each; empty when it is."""

    def server_metadata(self) -> MetadataServerResponse:
        """Return name, version and extensions of the server."""

    def model_names(self) -> list[str]:
        """Return the names of all known models, sorted."""

    def handle(self, name: str, version: str | None = None) -> ModelStatus:
        """Return the status of a model; without a version, of its default. Raises `ModelNotFound`, and
        `ServerNotReady` while the server does not know yet which models there are."""

    def model_ready(self, name: str, version: str | None = None) -> bool:
        """Return whether the model answers requests now. Raises as `handle`."""

    def model_metadata(self, name: str, version: str | None = None) -> MetadataModelResponse:
        """Return the metadata of a loaded model. Raises as `handle`, and `ModelNotReady`."""

    def statistics(self, name: str | None = None, version: str | None = None) -> list[dict[str, Any]]:
        """Return counts of all models, all versions of one, or one version, in the form of the statistics
        extension. Raises as `handle`."""

    async def index(self, ready: bool | None = None) -> list[RepositoryIndexResponseItem]:
        """Return every version of every model; only those that are ready (True) or not (False). Raises
        `mlsrv.errors.MLSrvError` if the kernel is not running, or the repository cannot be read."""

    async def load(self, name: str, version: str | None = None) -> Sequence[ModelStatus]:
        """Load or reload a model: every version that the repository has, or one. Raises `ModelNotFound`, or
        the error of a version that failed; the others are loaded all the same."""

    async def unload(self, name: str, version: str | None = None) -> None:
        """Unload a model: all versions, or one. Raises `ModelNotFound`."""

    async def listing(self, left_out: bool = False) -> list[Listing]:
        """Return every model that could be loaded, read anew; see `mlsrv.kernel.Kernel.listing`."""
