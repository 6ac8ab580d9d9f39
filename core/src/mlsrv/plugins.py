"""Discovery and bookkeeping of plugins. The only module that calls hooks."""

from __future__ import annotations

import difflib
import importlib.util
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy
from attrs import define, field

from mlsrv import hookspecs
from mlsrv.errors import ConfigurationError, OfferClash, PluginError
from mlsrv.markers import PROJECT
from mlsrv.offers import (
    CodecOffer,
    ExecutorOffer,
    MeterOffer,
    Offer,
    RepositoryOffer,
    RuntimeOffer,
    SettingsOffer,
    TransportOffer,
)

if TYPE_CHECKING:
    from mlsrv.executor import ModelInfo
    from mlsrv.interceptor import Interceptor
    from mlsrv.kernel import Kernel
    from mlsrv.settings import ModelSettings
    from mlsrv_protocol.types import State

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


@define
class PluginRow:
    """One plugin, loaded or not.

    Attributes:
        name: its entry point's name, or the name of a plugin object's module or class.
        distribution: the distribution that it came in, or ``"(given)"`` for an object.
        version: the distribution's version; empty for an object.
        error: why it did not load, or None.
        blocked: whether it was skipped on request.
        offers: what it offers, once loaded.
    """

    name: str
    distribution: str = "(given)"
    version: str = ""
    error: Exception | None = None
    blocked: bool = False
    offers: list[Offer] = field(factory=list)

    @property
    def label(self) -> str:
        """Its name and origin, for messages."""
        return f"{self.name} ({self.distribution} {self.version})" if self.version else self.name


class Plugins:
    """The plugins of one kernel. Frozen once made: nothing is discovered or registered later.

    Attributes:
        given, discovering, blocked: how it was made, for making the same again in another process.

    Args:
        extra: plugin objects (modules or instances) beside the installed ones.
        discover: whether the entry points of group ``mlsrv`` are loaded.
        block: names of plugins or distributions to skip before they are imported.

    Raises:
        PluginError: a plugin in `extra` is wrong. Installed plugins that are wrong become rows with an error.
        OfferClash: two plugins offer the same thing.
    """

    def __init__(
        self, extra: Iterable[object] = (), *, discover: bool = True, block: Iterable[str] = ()
    ) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(hookspecs)
        self._rows: dict[str, PluginRow] = {}
        self.given = tuple(extra)
        self.discovering = discover
        self.blocked = frozenset(block)
        found = [*(_installed(self.blocked) if discover else ()), *_given(self.given)]
        for row, plugin in sorted(found, key=lambda pair: pair[0].name, reverse=True):
            self._register(row, plugin)
        for _, result in self._each("mlsrv_addhooks", pluginmanager=self.manager):
            if result is not None:
                raise PluginError("mlsrv_addhooks must return nothing")
        for row in list(self._rows.values()):
            self._check_hooks(row)
        for offer_class, hook in _OFFER_HOOKS.items():
            self._collect(offer_class, hook)

    @property
    def rows(self) -> list[PluginRow]:
        """Every plugin that was found, sorted by name."""
        return sorted(self._rows.values(), key=lambda row: row.name)

    @property
    def failed(self) -> list[PluginRow]:
        """The plugins that did not load."""
        return [row for row in self.rows if row.error is not None]

    def offers(self, kind: type[_O]) -> list[_O]:
        """Every offer of one kind, in the order of plugin names."""
        return [offer for _, offer in self.attributed(kind)]

    def attributed(self, kind: type[_O]) -> list[tuple[str, _O]]:
        """Every offer of one kind with the distribution that it came from."""
        return [
            (row.distribution if row.version else row.name, offer)
            for row in self.rows
            for offer in row.offers
            if isinstance(offer, kind)
        ]

    def each(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that a plugin added with ``mlsrv_addhooks``: (label of the plugin, result) pairs,
        without None.

        Raises:
            PluginError: an implementation raised.
        """
        return [(row.label, result) for row, result in self._each(hook, **arguments) if result is not None]

    def select_runtime(self, model: ModelSettings, files: Sequence[Path]) -> str | None:
        """The first answer of ``mlsrv_select_runtime``, or None."""
        for _, result in self._each("mlsrv_select_runtime", model=model, files=files):
            if result is not None:
                return str(result)
        return None

    def interceptors(self, kernel: Kernel, model: ModelSettings, info: ModelInfo) -> list[Interceptor]:
        """The interceptors for one load of a model, by phase, then plugin name."""
        made: list[Interceptor] = []
        for _, result in self._each("mlsrv_interceptors", kernel=kernel, model=model, info=info):
            made.extend(_several(result))
        return sorted(made, key=lambda interceptor: interceptor.phase)

    def lifespans(self, kernel: Kernel) -> list[AbstractAsyncContextManager[object]]:
        """What the plugins want entered at boot, in order."""
        return [result for _, result in self._each("mlsrv_lifespan", kernel=kernel) if result is not None]

    def model_state(self, kernel: Kernel, model: ModelSettings, state: State, reason: str) -> None:
        """Tell every listener; one that raises is logged."""
        try:
            for _ in self._each("mlsrv_model_state", kernel=kernel, model=model, state=state, reason=reason):
                pass
        except PluginError as error:
            logger.exception("A listener for model states failed: %s", error)

    # --- making ---------------------------------------------------------------------------------------------

    def _register(self, row: PluginRow, plugin: object) -> None:
        if row.name in self._rows and self._rows[row.name].error is None:
            raise OfferClash.between("plugin name", row.name, self._rows[row.name].label, row.label)
        self._rows[row.name] = row
        if row.error is not None or row.blocked:
            return
        try:
            self.manager.register(plugin, row.name)
        except (pluggy.PluginValidationError, ValueError) as error:
            self._fail(row, error)

    def _check_hooks(self, row: PluginRow) -> None:
        plugin = self.manager.get_plugin(row.name)
        if plugin is None:
            return
        known = [name for name in vars(self.manager.hook) if name.startswith("mlsrv_")]
        specified = {name for name in known if getattr(self.manager.hook, name).has_spec()}
        for caller in self.manager.get_hookcallers(plugin) or ():
            if caller.name in specified or any(
                impl.plugin is plugin and impl.optionalhook for impl in caller.get_hookimpls()
            ):
                continue
            near = difflib.get_close_matches(caller.name, specified, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.manager.unregister(plugin)
            self._fail(row, PluginError(f"implements the unknown hook {caller.name}{hint}"))
            return

    def _fail(self, row: PluginRow, error: Exception) -> None:
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
            except Exception as error:  # a plugin may raise anything; it becomes its row's error
                row.offers.clear()
                self.manager.unregister(name=row.name)
                self._fail(row, error)
                continue
            row.offers.extend(offers)

    def _implementations(self, hook: str) -> Iterator[tuple[pluggy.HookImpl, PluginRow]]:
        for impl in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            yield impl, self._rows[impl.plugin_name]

    def _each(self, hook: str, **arguments: Any) -> Iterator[tuple[PluginRow, Any]]:
        # Called one by one and not through pluggy's multicall: that loses all results when one implementation
        # raises, and does not say who returned what.
        for impl, row in self._implementations(hook):
            try:
                result = impl.function(*(arguments[name] for name in impl.argnames))
            except Exception as error:
                raise PluginError(
                    f"The plugin {row.label} failed in {hook}: {type(error).__name__}: {error}"
                ) from error
            yield row, result


def _several(result: Any) -> Iterable[Any]:
    if result is None:
        return ()
    return result if isinstance(result, Iterable) else (result,)


def _installed(blocked: frozenset[str]) -> Iterator[tuple[PluginRow, object]]:
    for point in sorted(metadata.entry_points(group=PROJECT), key=lambda point: point.name):
        dist = point.dist
        row = PluginRow(point.name, dist.name if dist else point.value, dist.version if dist else "0")
        plugin: object = None
        if row.name in blocked or row.distribution in blocked:
            row.blocked = True
        else:
            try:
                plugin = point.load()
            except Exception as error:  # one broken plugin must not stop the others; its row tells
                row.error = error
        yield row, plugin


def _given(extra: Iterable[object]) -> Iterator[tuple[PluginRow, object]]:
    for plugin in extra:
        if isinstance(plugin, type):
            raise PluginError(f"The plugin {plugin.__name__} is a class; pass an instance of it.")
        name = getattr(plugin, "__name__", None) or type(plugin).__name__
        yield PluginRow(str(name)), plugin


def load_plugin_file(path: Path) -> object:
    """Import a plugin from a Python file of its own.

    Raises:
        ConfigurationError: there is no such file, or it fails to import (the message has the line).
    """
    if not path.is_file():
        raise ConfigurationError(f"The plugin file {path} does not exist.")
    name = path.stem
    spec = importlib.util.spec_from_file_location(f"_mlsrv_plugin_{name}", path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"The plugin file {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise ConfigurationError(
            f"The plugin file {path} fails to import: {type(error).__name__}: {error}"
        ) from error
    module.__name__ = name
    return module
