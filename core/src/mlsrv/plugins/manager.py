"""Manager: registers the plugins of one kernel, collects their offers, and makes all calls of hooks."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from mlsrv.errors import OfferClash, PluginError
from mlsrv.plugins import hookspecs
from mlsrv.plugins.discovery import PluginRow as PluginRow
from mlsrv.plugins.discovery import given_plugins, installed_plugins
from mlsrv.plugins.discovery import load_plugin_file as load_plugin_file
from mlsrv.plugins.markers import PROJECT
from mlsrv.plugins.offers import (
    CodecOffer,
    ExecutorOffer,
    MeterOffer,
    RepositoryOffer,
    RuntimeOffer,
    SettingsOffer,
    TransportOffer,
)

if TYPE_CHECKING:
    from mlsrv.authorization import Authorizer
    from mlsrv.interceptor import Interceptor, UserCodeContext
    from mlsrv.kernel_api import KernelAPI
    from mlsrv.placement import ModelInfo
    from mlsrv.plugin_resources import Shared
    from mlsrv.repository import VerifiedFolder
    from mlsrv.settings import ModelSettings
    from mlsrv_protocol.types import State
    from mlsrv_telemetry_kit.metrics import Metric

logger = logging.getLogger("mlsrv.plugins")

_O = TypeVar("_O")

_OFFER_HOOKS: dict[type, str] = {
    SettingsOffer: "mlsrv_settings",
    CodecOffer: "mlsrv_codecs",
    RuntimeOffer: "mlsrv_runtimes",
    RepositoryOffer: "mlsrv_repositories",
    ExecutorOffer: "mlsrv_executors",
    TransportOffer: "mlsrv_transports",
    MeterOffer: "mlsrv_meters",
}
_KINDS = {
    RepositoryOffer: "model repository",
    ExecutorOffer: "executor",
    TransportOffer: "transport",
    MeterOffer: "meter",
}


class Plugins:
    """The plugins of one kernel. Frozen once made: nothing is discovered or registered later.

    Attributes:
        given, discovering, blocked: how it was made, for making the same again in another process.

    Args:
        extra: plugin objects (modules or instances) beside the installed ones.
        discover: whether the entry points of group ``mlsrv`` are loaded.
        block: names of plugins or distributions to skip before they are imported.
        own: the kernel's own plugin, if a kernel asks.

    Raises:
        PluginError: a plugin in `extra` is wrong. Installed plugins that are wrong become rows with an error.
        OfferClash: two plugins have the same name or offer the same thing.
    """

    def __init__(
        self,
        extra: Iterable[object] = (),
        *,
        discover: bool = True,
        block: Iterable[str] = (),
        own: PluginRow | None = None,
    ) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self.given = tuple(extra)
        self.discovering = discover
        self.blocked = frozenset(block)
        found = [own] if own is not None else []
        if discover:
            found += installed_plugins(self.blocked)
        known = [row.plugin for row in found]
        found += [
            row for row in given_plugins(self.given) if not any(row.plugin is plugin for plugin in known)
        ]
        self._rows = sorted(found, key=lambda row: (row.name, row.distribution))
        self._by_name: dict[str, PluginRow] = {}
        for row in self._active():
            self._add_hooks(row)
        # The last one that is registered is called first.
        for row in reversed(list(self._active())):
            self._register(row)
        for offer_class, hook in _OFFER_HOOKS.items():
            self._collect(offer_class, hook)
        for kind, called in _KINDS.items():
            self._check_names(kind, called)

    @property
    def rows(self) -> list[PluginRow]:
        """Every plugin that was found, sorted by name."""
        return list(self._rows)

    @property
    def active(self) -> list[object]:
        """Every plugin object that takes part, sorted by name."""
        return [row.plugin for row in self._active()]

    @property
    def failed(self) -> list[PluginRow]:
        """The plugins that did not load."""
        return [row for row in self._rows if row.error is not None]

    def failures(self) -> dict[str, str]:
        """Distributions whose plugin takes no part, with the reason; for messages about what it would own."""
        absent = [row for row in self._rows if not row.active]
        return {
            row.distribution: "it is blocked" if row.blocked else f"{type(row.error).__name__}: {row.error}"
            for row in absent
        }

    def offers(self, kind: type[_O]) -> list[_O]:
        """Every offer of one kind, in the order of plugin names."""
        return [offer for _, offer in self.attributed(kind)]

    def attributed(self, kind: type[_O]) -> list[tuple[str, _O]]:
        """Every offer of one kind with the distribution that it came from."""
        return [(row.origin, offer) for row in self._rows for offer in row.offers if isinstance(offer, kind)]

    def codec_parameters(self) -> frozenset[str]:
        """Return the keys of tensor parameters that tell a codec how the data is encoded."""
        return frozenset(key for offer in self.offers(CodecOffer) for key in offer.parameters)

    # --- hooks --------------------------------------------------------------------------------------------

    def each(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that a plugin added with ``mlsrv_addhooks``: (label of the plugin, result) pairs,
        without None; none for a hook that no plugin added.

        Raises:
            PluginError: an implementation raised.
        """
        if not hasattr(self.manager.hook, hook):
            return []
        return [(row.label, result) for row, result in self._each(hook, **arguments) if result is not None]

    def extensions(self) -> list[str]:
        """Return the extensions of the protocol that the plugins name, in the order of plugin names.

        Raises:
            PluginError: an implementation raised, or returned something else.
        """
        found: list[str] = []
        for row, result in self._each("mlsrv_extensions"):
            for name in (result,) if isinstance(result, str) else _several(result):
                if not isinstance(name, str):
                    raise _wrong(row, "mlsrv_extensions", name, "a text")
                found.append(name)
        return found

    def metrics(self) -> list[Metric]:
        """Return every metric that the plugins list, in the order of plugin names.

        Raises:
            PluginError: an implementation raised, or returned something else.
            OfferClash: two plugins list different metrics under one name.
        """
        from mlsrv_telemetry_kit.metrics import Metric

        found: dict[str, tuple[PluginRow, Metric]] = {}
        for row, result in self._each("mlsrv_metrics"):
            for metric in _several(result):
                if not isinstance(metric, Metric):
                    raise _wrong(row, "mlsrv_metrics", metric, "a Metric")
                other, known = found.setdefault(metric.name, (row, metric))
                if known != metric:
                    raise OfferClash.between("metric", metric.name, other.label, row.label)
        return [metric for _, metric in found.values()]

    def verified_folder(
        self, kernel: KernelAPI, model: ModelSettings
    ) -> AbstractContextManager[VerifiedFolder | None] | None:
        """Return the check of a model's files, or None if no plugin has one.

        Raises:
            PluginError: an implementation raised, or returned something else.
            OfferClash: two plugins check it.
        """
        found: list[tuple[PluginRow, AbstractContextManager[VerifiedFolder | None]]] = []
        for row, result in self._each("mlsrv_verified_folder", kernel=kernel, model=model):
            if result is None:
                continue
            if not hasattr(result, "__enter__"):
                raise _wrong(row, "mlsrv_verified_folder", result, "a context manager")
            if found:
                raise OfferClash.between("check of model", model.name, found[0][0].label, row.label)
            found.append((row, result))
        return found[0][1] if found else None

    def select_runtime(self, model: ModelSettings, files: Sequence[Path]) -> str | None:
        """The first answer of ``mlsrv_select_runtime``, or None."""
        for _, result in self._each("mlsrv_select_runtime", model=model, files=files):
            if result is not None:
                return str(result)
        return None

    def interceptors(self, kernel: KernelAPI, model: ModelSettings, info: ModelInfo) -> list[Interceptor]:
        """The interceptors for one load of a model, by phase, then plugin name."""
        from mlsrv.interceptor import Interceptor

        made: list[Interceptor] = []
        for row, result in self._each("mlsrv_interceptors", kernel=kernel, model=model, info=info):
            for interceptor in _several(result):
                if not isinstance(interceptor, Interceptor):
                    raise _wrong(row, "mlsrv_interceptors", interceptor, "an Interceptor")
                made.append(interceptor)
        return sorted(made, key=lambda interceptor: interceptor.phase)

    def user_code(
        self, settings: Mapping[str, Any], model: ModelSettings, shared: Shared
    ) -> list[UserCodeContext]:
        """Return the contexts to put around the code of a model in this process, outermost first."""
        made: list[UserCodeContext] = []
        for row, result in self._each("mlsrv_user_code", settings=settings, model=model, shared=shared):
            if result is not None and not callable(result):
                raise _wrong(row, "mlsrv_user_code", result, "a callable")
            made += [result] if result is not None else []
        return made

    def lifespans(self, kernel: KernelAPI) -> list[tuple[str, AbstractAsyncContextManager[object]]]:
        """Return the context managers to enter at boot, in order, each with the label of its plugin."""
        found: list[tuple[str, AbstractAsyncContextManager[object]]] = []
        for row, result in self._each("mlsrv_lifespan", kernel=kernel):
            if result is None:
                continue
            if not hasattr(result, "__aenter__"):
                raise _wrong(row, "mlsrv_lifespan", result, "an async context manager")
            found.append((row.label, result))
        return found

    def authorizer(self, kernel: KernelAPI) -> Authorizer | None:
        """Return the authorizer of a plugin, or None if no plugin has one.

        Raises:
            PluginError: an implementation raised, or returned something else.
            OfferClash: two plugins have one.
        """
        from mlsrv.authorization import Authorizer

        found: list[tuple[PluginRow, Authorizer]] = []
        for row, result in self._each("mlsrv_authorize", kernel=kernel):
            if result is None:
                continue
            if not isinstance(result, Authorizer):
                raise _wrong(row, "mlsrv_authorize", result, "an Authorizer")
            if found:
                raise OfferClash.between("authorizer", "mlsrv_authorize", found[0][0].label, row.label)
            found.append((row, result))
        return found[0][1] if found else None

    def model_state(self, kernel: KernelAPI, model: ModelSettings, state: State, reason: str) -> None:
        """Tell every listener; one that raises is logged, and the others hear of it all the same."""
        arguments = {"kernel": kernel, "model": model, "state": state, "reason": reason}
        for impl, row in self._implementations("mlsrv_model_state"):
            try:
                _call(impl, row, arguments)
            except PluginError as error:
                logger.exception("A listener for model states failed: %s", error)

    # --- making -------------------------------------------------------------------------------------------

    def _active(self) -> Iterator[PluginRow]:
        return (row for row in self._rows if row.active)

    def _add_hooks(self, row: PluginRow) -> None:
        # Before any plugin is registered: pluggy checks implementations when it meets their specification,
        # and a wrong one must be the fault of the plugin that has it, not of the one that adds the
        # specification.
        if self.manager.parse_hookimpl_opts(row.plugin, "mlsrv_addhooks") is None:
            return
        try:
            plugin: Any = row.plugin
            function = plugin.mlsrv_addhooks
            takes = inspect.signature(function).parameters
            if function(**({"pluginmanager": self.manager} if takes else {})) is not None:
                raise PluginError("mlsrv_addhooks must return nothing")
        except (Exception, SystemExit) as error:
            self._fail(row, error)

    def _register(self, row: PluginRow) -> None:
        if row.name in self._by_name:
            raise OfferClash.between("plugin name", row.name, row.label, self._by_name[row.name].label)
        try:
            self.manager.register(row.plugin, row.name)
            self._check_hooks(row)
        except (pluggy.PluginValidationError, ValueError, PluginError) as error:
            if self.manager.has_plugin(row.name):
                self.manager.unregister(name=row.name)
            self._fail(row, error)
        else:
            self._by_name[row.name] = row

    def _check_hooks(self, row: PluginRow) -> None:
        specified = {name for name, caller in vars(self.manager.hook).items() if caller.has_spec()}
        for caller in self.manager.get_hookcallers(row.plugin) or ():
            (impl,) = [impl for impl in caller.get_hookimpls() if impl.plugin is row.plugin]
            if impl.wrapper or impl.hookwrapper:
                raise PluginError(f"{caller.name} is a hook wrapper, which mlsrv does not call")
            if caller.name not in specified and not impl.optionalhook:
                near = difflib.get_close_matches(caller.name, specified, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise PluginError(f"implements the unknown hook {caller.name}{hint}")

    def _fail(self, row: PluginRow, error: BaseException) -> None:
        row.error = error
        if not row.version:
            raise PluginError(f"The plugin {row.label} is wrong: {error}") from error

    def _collect(self, kind: type, hook: str) -> None:
        for impl, row in self._implementations(hook):
            try:
                offers = list(_several(impl.function()))
                for offer in offers:
                    if not isinstance(offer, kind):
                        raise PluginError(f"{hook} returned a {type(offer).__name__}, not a {kind.__name__}")
            except (
                Exception,
                SystemExit,
            ) as error:  # a plugin may raise anything; it becomes its row's error
                row.offers.clear()
                self.manager.unregister(name=row.name)
                self._fail(row, error)
                continue
            row.offers.extend(offers)

    def _check_names(self, kind: type[Any], called: str) -> None:
        owners: dict[str, str] = {}
        for origin, offer in self.attributed(kind):
            if offer.name in owners:
                raise OfferClash.between(called, offer.name, owners[offer.name], origin)
            owners[offer.name] = origin

    def _implementations(self, hook: str) -> Iterator[tuple[pluggy.HookImpl, PluginRow]]:
        for impl in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            yield impl, self._by_name[impl.plugin_name]

    def _each(self, hook: str, **arguments: Any) -> Iterator[tuple[PluginRow, Any]]:
        # One by one and not through pluggy's multicall: that loses all results when one implementation
        # raises, and does not say who returned what.
        for impl, row in self._implementations(hook):
            yield row, _call(impl, row, arguments)


def _call(impl: pluggy.HookImpl, row: PluginRow, arguments: dict[str, Any]) -> Any:
    try:
        return impl.function(*(arguments[name] for name in impl.argnames))
    except (Exception, SystemExit) as error:
        name = impl.function.__name__
        raise PluginError(
            f"The plugin {row.label} failed in {name}: {type(error).__name__}: {error}"
        ) from error


def _wrong(row: PluginRow, hook: str, result: object, wanted: str) -> PluginError:
    return PluginError(f"The plugin {row.label}: {hook} returned a {type(result).__name__}, not {wanted}.")


def _several(result: Any) -> Iterable[Any]:
    if result is None:
        return ()
    return result if isinstance(result, Iterable) else (result,)
