"""Suites: those that try a plugin, given by its author, and ours for what the author leaves out.

The author's are the classes ``Test…`` with a contract as a base, in a module ``contracts`` beside the
plugin's own (``mlsrv_hex.contracts`` for ``mlsrv_hex.plugin``), or in a file of tests that is named.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

from mlsrv.errors import ConfigurationError
from mlsrv.kernel.kernel import Kernel
from mlsrv.plugins.discovery import PluginRow, load_plugin_file
from mlsrv.plugins.manager import Plugins
from mlsrv.plugins.offers import (
    CodecOffer,
    ExecutorOffer,
    MeterOffer,
    RepositoryOffer,
    RuntimeOffer,
    SettingsOffer,
    TransportOffer,
    resolve_target,
)
from mlsrv_protocol.types import InferenceRequest
from mlsrv_testing.checks import generic, samples
from mlsrv_testing.contracts import (
    ExecutorContract,
    InputCodecContract,
    InterceptorContract,
    MeterContract,
    PluginContract,
    RepositoryContract,
    RequestCodecContract,
    RuntimeContract,
    TransportContract,
)

_KINDS: dict[type, str] = {
    InputCodecContract: "input codec",
    RequestCodecContract: "request codec",
    RuntimeContract: "runtime",
    RepositoryContract: "repository",
    InterceptorContract: "interceptor",
    ExecutorContract: "executor",
    TransportContract: "transport",
    MeterContract: "meter",
    PluginContract: "plugin",
}
_OFFERS: dict[type, str] = {
    RuntimeOffer: "runtime",
    RepositoryOffer: "repository",
    ExecutorOffer: "executor",
    TransportOffer: "transport",
    MeterOffer: "meter",
}
_NO_SAMPLE = "none of the stock values can be encoded; give --sample FILE, or a suite of the author"

_NO_READER = "only its author can say how to read what it recorded: it needs a suite of the author"


@attrs.frozen
class Given:
    """The input of a check from its user.

    Attributes:
        settings: values of settings of the server and of models, by key.
        model: a folder with a model of the plugin's runtime.
        samples: requests or tensors, for codecs and for the model.
        suites: files of tests with suites of the author.
    """

    settings: Mapping[str, Any] = attrs.field(factory=dict)
    model: Path | None = None
    samples: Sequence[InferenceRequest] = ()
    suites: Sequence[Path] = ()


@attrs.frozen
class Trial:
    """The suites and samples that try one thing.

    Attributes:
        source: where the suite, or its samples, come from.
        suite: the class, or None.
        missing: why there is none.
    """

    source: str = ""
    suite: type | None = None
    missing: str = ""


@attrs.frozen
class Subject:
    """One thing to try.

    Attributes:
        label: ``"input codec hex"``.
        prepare: makes the suite for it, which may run the plugin's code.
    """

    label: str
    prepare: Callable[[], Trial]


def subjects(row: PluginRow, plugins: Plugins, given: Given) -> list[Subject]:
    """Everything that a plugin brings.

    Args:
        row: the plugin.
        plugins: all plugins of this environment.
        given: what the user gives.

    Raises:
        ConfigurationError: a file that is given cannot be used.
    """
    authors = list(_authors_suites(row, given.suites))
    found = [_ready(f"plugin {row.name}", "rules of plugins", generic.plugin_suite(row.plugin))]
    found += [_ready(_label(suite), f"{source}: {suite.__name__}", suite) for suite, source in authors]
    covered = [suite for suite, _ in authors]
    for offer in row.offers:
        if not isinstance(offer, SettingsOffer) and not _covers(covered, offer):
            found.append(_of_offer(offer, row, plugins, given))
    if _implements(row, plugins, "mlsrv_interceptors") and not _some(covered, InterceptorContract):
        found += _interceptors(row, given)
    return found


def _ready(label: str, source: str, suite: type) -> Subject:
    return Subject(label, lambda: Trial(source, suite))


# --- the author's suites ----------------------------------------------------------------------------------


def _authors_suites(row: PluginRow, files: Iterable[Path]) -> Iterator[tuple[type, str]]:
    modules: list[tuple[ModuleType, str]] = []
    name = _contracts_of(row)
    if name is not None:
        modules.append((_import_suites(name), name))
    modules += [(load_plugin_file(file), str(file)) for file in files]
    for module, source in modules:
        suites = [one for one in vars(module).values() if _is_suite(one)]
        if not suites:
            raise ConfigurationError(
                f"{source} has no class Test… with a contract of mlsrv_testing.contracts."
            )
        yield from ((suite, source) for suite in suites)


def _contracts_of(row: PluginRow) -> str | None:
    package, _, _ = getattr(row.plugin, "__name__", "").rpartition(".")
    name = f"{package}.contracts"
    return name if package and importlib.util.find_spec(name) is not None else None


def _import_suites(name: str) -> ModuleType:
    if name not in sys.modules:
        pytest.register_assert_rewrite(name)
    try:
        return importlib.import_module(name)
    except Exception as error:  # importing runs the author's code, which may raise anything
        raise ConfigurationError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _is_suite(found: object) -> bool:
    return isinstance(found, type) and found.__name__.startswith("Test") and issubclass(found, tuple(_KINDS))


def _label(suite: type[Any]) -> str:
    (kind,) = [kind for contract, kind in _KINDS.items() if issubclass(suite, contract)]
    name = getattr(getattr(suite, "codec", None), "ContentType", None)
    for attribute in ("executor", "transport"):
        if kind == attribute:
            name = getattr(suite(), attribute)
    return f"{kind} {name}" if name else kind


def _covers(suites: Sequence[type[Any]], offer: Any) -> bool:
    """Return True if the author's suites are about an offer.

    A suite of runtimes or repositories does not say which one it is about: it covers all.
    """
    if isinstance(offer, CodecOffer):
        return any(getattr(suite, "codec", None) is _resolved(offer) for suite in suites)
    if isinstance(offer, MeterOffer):
        return any(getattr(suite, "meter", None) is _resolved(offer) for suite in suites)
    if isinstance(offer, ExecutorOffer | TransportOffer):
        return any(_label(suite) == f"{_OFFERS[type(offer)]} {offer.name}" for suite in suites)
    contract = {RuntimeOffer: RuntimeContract, RepositoryOffer: RepositoryContract}.get(type(offer))
    return contract is not None and _some(suites, contract)


def _some(suites: Iterable[type], contract: type) -> bool:
    return any(issubclass(suite, contract) for suite in suites)


def _resolved(offer: Any) -> Any:
    try:
        return resolve_target(offer.target)
    except Exception:  # the suite of the plugin tells it
        return None


# --- ours -------------------------------------------------------------------------------------------------


def _of_offer(offer: Any, row: PluginRow, plugins: Plugins, given: Given) -> Subject:
    kind = f"{offer.kind} codec" if isinstance(offer, CodecOffer) else _OFFERS[type(offer)]
    label = f"{kind} {offer.name}"
    target = _resolved(offer)
    if target is None:
        return Subject(label, lambda: Trial(missing=f"{offer.target} cannot be imported"))
    make: Callable[[], Trial] = {
        CodecOffer: lambda: _codec(offer, target, plugins, given),
        RuntimeOffer: lambda: _runtime(offer, plugins, given),
        RepositoryOffer: lambda: Trial("an empty folder", generic.repository_suite(target)),
        ExecutorOffer: lambda: Trial(
            "models of mlsrv.testing", generic.executor_suite(offer.name, row.plugin, given.settings)
        ),
        TransportOffer: lambda: _transport(offer, target, row, given),
        MeterOffer: lambda: Trial(missing=_NO_READER),
    }[type(offer)]
    return Subject(label, make)


def _codec(offer: CodecOffer, target: Any, plugins: Plugins, given: Given) -> Trial:
    source = "--sample" if given.samples else "stock values"
    if offer.kind == "input":
        values = samples.input_samples(target, given.samples)
        suite = generic.input_codec_suite(target, values)
    else:
        values = samples.request_samples(target, given.samples)
        others = [one for one in plugins.offers(CodecOffer) if one.kind == "input"]
        suite = generic.request_codec_suite(target, values, others)
    return Trial(source, suite) if values else Trial(missing=_NO_SAMPLE)


def _runtime(offer: RuntimeOffer, plugins: Plugins, given: Given) -> Trial:
    if given.model is None:
        return Trial(missing="it needs a model; give --model FOLDER, or a suite of the author")
    settings = samples.example_model(given.model)
    kernel = Kernel(
        plugins=plugins.given, models=[settings], discover=plugins.discovering, block=plugins.blocked
    )
    chosen = settings.implementation or kernel.catalog.select(kernel.resolve_model(settings))
    if chosen not in (offer.name, *offer.aliases):
        return Trial(missing=f"the model in {given.model} is of the runtime {chosen}")
    requests = given.samples or samples.model_requests(kernel, settings.name)
    if not requests:
        return Trial(missing="the model declares no inputs to make a request of; give --sample FILE")
    return Trial(str(given.model), generic.runtime_suite(settings, requests, plugins))


def _transport(offer: TransportOffer, target: Any, row: PluginRow, given: Given) -> Trial:
    if not getattr(target, "takes_requests", True):
        return Trial(missing="models cannot be asked over it")
    suite = generic.transport_suite(offer.name, row.plugin, given.settings)
    return Trial("the client of mlsrv-protocol", suite)


def _interceptors(row: PluginRow, given: Given) -> list[Subject]:
    suites = generic.interceptor_suites(row.plugin, given.settings)
    if not suites:
        missing = "it makes none for a model with these settings; --set KEY=VALUE switches it on"
        return [Subject("interceptor", lambda: Trial(missing=missing))]
    return [_ready(f"interceptor {name}", "texts", suite) for name, suite in suites]


def _implements(row: PluginRow, plugins: Plugins, hook: str) -> bool:
    callers = plugins.manager.get_hookcallers(row.plugin) or ()
    return any(caller.name == hook for caller in callers)
