"""Catalog: codecs and runtimes, compiled from the plugins' offers, in each process with models."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlsrv.codecs.registry import CodecRegistry
from mlsrv.errors import ModelLoadError, OfferClash
from mlsrv.hosting.call_scope import CallScopes
from mlsrv.plugin_resources import Shared
from mlsrv.plugins.manager import PluginRow, Plugins
from mlsrv.plugins.offers import CodecOffer, RuntimeOffer, adapted, resolve_target
from mlsrv.settings import ModelSettings
from mlsrv.utils import local_path
from mlsrv_hosting_kit.code_importer import CodeImporter
from mlsrv_hosting_kit.code_snapshot import CodeSnapshot
from mlsrv_settings_kit.hints import explain_artifact, explain_runtime
from mlsrv_settings_kit.known_plugins import fitting

if TYPE_CHECKING:
    from mlsrv.model import MLModel


_SETTINGS_FILES = {"model-settings.json", "settings.json"}


class Catalog:
    """Codecs, runtimes, and what is put around the code of models.

    Args:
        plugins: of this process.
        settings: of the server, as plain data.

    Attributes:
        codecs: the codecs of all plugins.
        runtimes: the offered runtimes by name.
        shared: what the hooks of plugins share in this process; closed by the maker of the catalog.

    Raises:
        OfferClash: two plugins offer the same codec, runtime or alias.
    """

    def __init__(self, plugins: Plugins, settings: Mapping[str, Any] | None = None) -> None:
        self._plugins = plugins
        self._settings = settings or {}
        self.codecs = CodecRegistry(plugins.attributed(CodecOffer))
        self.runtimes: dict[str, RuntimeOffer] = {}
        self.shared = Shared()
        self._by_alias: dict[str, tuple[str, RuntimeOffer]] = {}
        for distribution, offer in plugins.attributed(RuntimeOffer):
            self.runtimes[offer.name] = offer
            for name in (offer.name, *offer.aliases):
                if name in self._by_alias:
                    raise OfferClash.between("runtime", name, self._by_alias[name][0], distribution)
                self._by_alias[name] = (distribution, offer)

    def select(self, model: ModelSettings) -> str:
        """The runtime of a model whose settings do not name one.

        What a plugin says comes first, then the runtimes whose artifact has the very name of a file of the
        model, then those with a pattern that fits one.

        Raises:
            ModelLoadError: no runtime fits, or several do.
        """
        files = _files(model)
        chosen = self._plugins.select_runtime(model, files)
        if chosen is not None:
            return chosen
        names = [file.name for file in files]
        found = fitting(names, [(name, offer.artifacts) for name, offer in self.runtimes.items()])
        if len(found) == 1:
            return found[0]
        rows = self._plugins.rows
        loaded = {row.distribution for row in rows if row.error is None and not row.blocked}
        listed = ", ".join(names[:8]) + (", …" if names[8:] else "") or "no files"
        if found:
            raise ModelLoadError(
                f"Model {model.name}: the artifact ({listed}) fits several runtimes ({', '.join(found)}); "
                'name one in "implementation".'
            )
        raise ModelLoadError(
            f"Model {model.name}: it has no implementation, and no installed runtime knows its artifact "
            f"({listed}); installed runtimes: {', '.join(sorted(self.runtimes)) or 'none'}."
            f"{_failures(self._plugins.failed)}"
            f"{explain_artifact(names, loaded)}"
        )

    def runtime_class(
        self, model: ModelSettings, snapshot: CodeSnapshot | None = None
    ) -> tuple[type[MLModel], CodeImporter | None]:
        """Import the class that ``implementation`` names, and the model's own code if it comes from its
        folder, or from a snapshot of it.

        Raises:
            ModelLoadError: it cannot be imported, or is not an `MLModel`; with model, file and line.
        """
        from mlsrv.model import MLModel

        code = CodeImporter.of(model.folder, model.name, snapshot)
        try:
            with code.loading() if code is not None else nullcontext():
                made = self._implementation(model, code)
                # A function with `predictor` stands for a model.
                found = adapted(getattr(made, "__mlsrv_model__", made), MLModel)
            if not (isinstance(found, type) and issubclass(found, MLModel)):
                raise ModelLoadError(
                    f"Model {model.name}: {model.implementation!r} is {_described(found)}, "
                    "not a subclass of mlsrv.MLModel."
                )
        except BaseException:
            if code is not None:
                code.forget()
            raise
        return found, code

    def scopes(self, model: ModelSettings) -> CallScopes | None:
        """Return the contexts that plugins put around the code of a model, or None.

        Raises:
            PluginError: one of them failed to say.
        """
        contexts = self._plugins.user_code(self._settings, model, self.shared)
        return CallScopes(contexts) if contexts else None

    def _implementation(self, model: ModelSettings, code: CodeImporter | None) -> object:
        wanted = model.implementation
        if not isinstance(wanted, str):
            return wanted
        if wanted in self._by_alias:
            return self._offered(model.name, wanted)
        return self._imported(model, wanted, code)

    def _offered(self, model: str, wanted: str) -> object:
        distribution, offer = self._by_alias[wanted]
        try:
            return resolve_target(offer.target)
        except (ImportError, AttributeError) as error:
            raise ModelLoadError(
                f'Model {model}: the runtime "{wanted}" of {distribution} cannot be imported: {error}'
            ) from error

    def _imported(self, model: ModelSettings, wanted: str, code: CodeImporter | None) -> object:
        module_name, _, attribute = wanted.replace(":", ".").rpartition(".")
        if not module_name:
            raise ModelLoadError(
                f'Model {model.name}: unknown runtime "{wanted}"; installed are '
                f"{', '.join(sorted(self.runtimes)) or 'none'}, or write package.module.Class."
                f"{self._missing(wanted)}"
            )
        try:
            if code is None or not code.implements(module_name):
                return resolve_target(f"{module_name}:{attribute}")
            return getattr(code.import_module(module_name), attribute)
        except BaseException as error:  # importing runs the author's code, which may raise anything
            if isinstance(error, KeyboardInterrupt):
                raise
            text = code.located(error) if code is not None else f"{type(error).__name__}: {error}"
            if isinstance(error, ModuleNotFoundError):
                text += _searched(error, module_name, model, code)
            missing = self._missing(wanted)
            raise ModelLoadError(
                f"Model {model.name}: {wanted} cannot be imported: {text}{'.' if missing else ''}{missing}"
            ) from error

    def _missing(self, wanted: str) -> str:
        """Return a sentence about the plugin that has a runtime: it failed, or can be installed."""
        rows = [
            row
            for row in self._plugins.failed
            if row.name in wanted or row.distribution.replace("-", "_") in wanted
        ]
        installed = {
            distribution: offer.name for distribution, offer in self._plugins.attributed(RuntimeOffer)
        }
        return _failures(rows) or explain_runtime(wanted, installed)


def _searched(
    error: ModuleNotFoundError, wanted: str, model: ModelSettings, code: CodeImporter | None
) -> str:
    """Return the places that were searched for the module that settings name; "" if another is missing."""
    missing = error.name or ""
    if code is not None:
        missing = missing.removeprefix(f"{code.package}.")
    if not f"{wanted}.".startswith(f"{missing}."):
        return ""
    folder = "" if model.folder is None else f"the model's folder {model.folder} and "
    return f" (searched: {folder}the Python path)"


def _failures(rows: Sequence[PluginRow]) -> str:
    return "".join(f" The plugin {row.label} did not load: {row.error}." for row in rows)


def _files(model: ModelSettings) -> list[Path]:
    """The artifact, or the files of its folder: without hidden ones, and without those that hold settings."""
    path = local_path(model.parameters.uri)
    if path is None:
        return []
    if not path.is_dir():
        return [path]
    return sorted(
        child
        for child in path.iterdir()
        if child.is_file() and not child.name.startswith(".") and child.name not in _SETTINGS_FILES
    )


def _described(found: object) -> str:
    if not isinstance(found, type):
        return f"a {type(found).__name__}"
    try:
        _, line = inspect.getsourcelines(found)
        where = f" ({inspect.getsourcefile(found)}, line {line})"
    except (OSError, TypeError):  # built in, or its source is not there
        where = ""
    return f"the class {found.__qualname__}{where}"
