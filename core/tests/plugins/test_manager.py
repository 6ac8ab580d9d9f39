"""Plugins: found in order, one by one, each to be blamed for its own faults."""

import contextlib
import importlib
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import evolve

import mlsrv
from mlsrv.errors import ConfigurationError, OfferClash, PluginError
from mlsrv.executor import ModelInfo
from mlsrv.interceptor import Interceptor, Phase
from mlsrv.metrics import Metric
from mlsrv.plugins import Plugins, load_plugin_file
from mlsrv.settings import ModelSettings, setting, settings_class
from mlsrv.types import State

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs distributions on `sys.path` as a real installer would: a module and a dist-info folder."""
    monkeypatch.syspath_prepend(tmp_path)

    def install_one(distribution: str, entry_point: str, source: str, version: str = "1.0") -> None:
        module = distribution.replace("-", "_")
        (tmp_path / f"{module}.py").write_text("import mlsrv\n" + source)
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[mlsrv]\n{entry_point} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()

    return install_one


def real() -> list[str]:
    """The plugins that this environment really has."""
    points = metadata.entry_points(group="mlsrv")
    return [point.name for point in points if point.dist and not point.dist.name.startswith("acme")]


def installed(*, block: Sequence[str] = (), **options: Any) -> Plugins:
    """The plugins of this environment without the real ones."""
    return Plugins(block=[*real(), *block], **options)


def acme(plugins: Plugins) -> list[Any]:
    return [row for row in plugins.rows if row.distribution.startswith("acme")]


REPOSITORY = '@mlsrv.hookimpl\ndef mlsrv_repositories():\n    return mlsrv.RepositoryOffer("{}", "a:B")\n'


# --- installed plugins ---------------------------------------------------------------------------------


def test_entry_points_are_found_sorted_and_attributed(install: Install) -> None:
    install("acme-zebra", "aaa", REPOSITORY.format("zebra"))
    install("acme-ant", "zzz", REPOSITORY.format("ant"), version="2.1")
    plugins = installed()
    assert [(row.name, row.distribution, row.version) for row in acme(plugins)] == [
        ("aaa", "acme-zebra", "1.0"),
        ("zzz", "acme-ant", "2.1"),
    ]
    assert [
        (origin, offer.name)
        for origin, offer in plugins.attributed(mlsrv.RepositoryOffer)
        if origin.startswith("acme")
    ] == [("acme-zebra", "zebra"), ("acme-ant", "ant")]
    assert [offer.name for row in acme(plugins) for offer in row.offers] == ["zebra", "ant"]


@pytest.mark.parametrize("block", ["widget", "acme-widget"])
def test_a_blocked_plugin_is_not_imported(install: Install, block: str) -> None:
    install("acme-widget", "widget", "raise AssertionError('imported')")
    plugins = installed(block=[block])
    (row,) = acme(plugins)
    assert row.blocked
    assert row.error is None
    assert plugins.failed == []
    assert "acme_widget" not in sys.modules


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("def broken(:", "invalid syntax"),
        ("raise SystemExit(5)", "5"),
        ("@mlsrv.hookimpl\ndef mlsrv_codec(): ...", "unknown hook mlsrv_codec; did you mean mlsrv_codecs?"),
        ("@mlsrv.hookimpl\ndef mlsrv_frobnicate(): ...", "implements the unknown hook mlsrv_frobnicate"),
        ("@mlsrv.hookimpl\ndef mlsrv_lifespan(kernel, other): ...", "other"),
        ("@mlsrv.hookimpl(wrapper=True)\ndef mlsrv_codecs():\n    return (yield)", "is a hook wrapper"),
        ("@mlsrv.hookimpl\ndef mlsrv_codecs():\n    return 'np'", "returned a str, not a CodecOffer"),
        ("@mlsrv.hookimpl\ndef mlsrv_codecs():\n    return 1", "returned a int, not a CodecOffer"),
        (
            "@mlsrv.hookimpl\ndef mlsrv_codecs():\n    return mlsrv.RuntimeOffer('a', 'b:c')",
            "mlsrv_codecs returned a RuntimeOffer, not a CodecOffer",
        ),
        (
            "@mlsrv.hookimpl\ndef mlsrv_codecs():\n    return mlsrv.CodecOffer('a', 'b.c')",
            "package.module:Attribute",
        ),
        ("@mlsrv.hookimpl\ndef mlsrv_codecs():\n    return mlsrv.CodecOffer('', 'b:c')", "name of an offer"),
        (
            "@mlsrv.hookimpl\ndef mlsrv_settings():\n    return mlsrv.SettingsOffer('server', int)",
            "settings class",
        ),
        ("@mlsrv.hookimpl\ndef mlsrv_meters():\n    raise KeyError('boom')", "boom"),
        ("@mlsrv.hookimpl\ndef mlsrv_addhooks(pluginmanager):\n    raise KeyError('boom')", "boom"),
        ("@mlsrv.hookimpl\ndef mlsrv_addhooks(pluginmanager):\n    return 1", "must return nothing"),
    ],
)
def test_a_broken_plugin_keeps_its_error_and_the_others_work(
    install: Install, source: str, sentence: str
) -> None:
    install("acme-broken", "broken", source)
    install("acme-fine", "fine", REPOSITORY.format("fine"))
    plugins = installed()
    broken, fine = acme(plugins)
    assert plugins.failed == [broken]
    assert sentence in str(broken.error)
    assert broken.offers == []
    assert fine.error is None
    assert [offer.name for offer in fine.offers] == ["fine"]


def test_a_plugin_that_fails_late_leaves_no_offers(install: Install) -> None:
    source = (
        "@mlsrv.hookimpl\ndef mlsrv_codecs():\n    return mlsrv.CodecOffer('acme', 'a:B')\n"
        "@mlsrv.hookimpl\ndef mlsrv_transports():\n    raise RuntimeError('late')\n"
        "@mlsrv.hookimpl\ndef mlsrv_model_state():\n    raise AssertionError('still called')\n"
    )
    install("acme-late", "late", source)
    plugins = installed()
    assert plugins.offers(mlsrv.CodecOffer) == []
    plugins.model_state(Any, ModelSettings(name="m"), State.READY, "")  # type: ignore[arg-type]  # any kernel


def test_an_implementation_with_wrong_arguments_is_the_fault_of_its_plugin(install: Install) -> None:
    owner = (
        "import types\nhooks = types.ModuleType('hooks')\n"
        "@mlsrv.hookspec\ndef mlsrv_acme_event(kernel): ...\n"
        "hooks.mlsrv_acme_event = mlsrv_acme_event\n"
        "@mlsrv.hookimpl\ndef mlsrv_addhooks(pluginmanager):\n    pluginmanager.add_hookspecs(hooks)\n"
    )
    install("acme-owner", "owner", owner)
    install("acme-user", "user", "@mlsrv.hookimpl\ndef mlsrv_acme_event(kernel, nonsense): ...")
    plugins = installed()
    assert [row.name for row in plugins.failed] == ["user"]
    assert "nonsense" in str(plugins.failed[0].error)


def test_an_optional_hook_of_a_plugin_that_is_absent(install: Install) -> None:
    install("acme-user", "user", "@mlsrv.hookimpl(optionalhook=True)\ndef mlsrv_acme_event(kernel): ...")
    assert installed().failed == []


def test_two_plugins_of_one_name_are_refused_until_one_is_blocked(install: Install) -> None:
    install("acme-one", "same", "")
    install("acme-two", "same", "")
    with pytest.raises(OfferClash) as caught:
        installed()
    assert 'plugin name "same"' in str(caught.value)
    assert "acme-one 1.0" in str(caught.value)
    assert "acme-two 1.0" in str(caught.value)
    assert [row.blocked for row in acme(installed(block=["acme-one"]))] == [True, False]


def test_two_offers_of_one_name_name_both_distributions(install: Install) -> None:
    install("acme-one", "one", REPOSITORY.format("bucket"))
    install("acme-two", "two", REPOSITORY.format("bucket"))
    with pytest.raises(OfferClash) as caught:
        installed()
    assert str(caught.value) == (
        'The model repository "bucket" is offered by both acme-one and acme-two; '
        "block or uninstall one of them."
    )


def test_a_broken_plugin_is_one_warning_line_of_the_kernel(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("acme-broken", "broken", "import nowhere_to_be_found")
    mlsrv.Kernel(block=real())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "The plugin broken (acme-broken 1.0) did not load: "
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    )


def test_a_key_of_a_blocked_or_broken_plugin_names_it(install: Install) -> None:
    install("acme-blocked", "blocked", "")
    install("acme-broken", "broken", "raise ImportError('no acme')")
    with pytest.raises(ConfigurationError) as caught:
        mlsrv.Kernel({"acme_level": 1}, block=[*real(), "blocked"])
    assert 'unknown key "acme_level"; it may belong to a plugin that did not load: ' in str(caught.value)
    assert "acme-blocked (it is blocked)" in str(caught.value)
    assert "acme-broken (ImportError: no acme)" in str(caught.value)


# --- plugin objects ------------------------------------------------------------------------------------


class Named:
    """A plugin whose repository has a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    @mlsrv.hookimpl
    def mlsrv_repositories(self) -> mlsrv.RepositoryOffer:
        return mlsrv.RepositoryOffer(self._name, "a:B")


def test_several_instances_of_one_class() -> None:
    plugins = Plugins([Named("x"), Named("y"), Named("z")], discover=False)
    assert [(row.name, row.distribution, row.version) for row in plugins.rows] == [
        ("Named", "(given)", ""),
        ("Named-2", "(given)", ""),
        ("Named-3", "(given)", ""),
    ]
    assert [offer.name for offer in plugins.offers(mlsrv.RepositoryOffer)] == ["x", "y", "z"]


def test_a_wrong_plugin_object_is_an_error_at_once() -> None:
    class Wrong:
        @mlsrv.hookimpl
        def mlsrv_codec(self) -> None: ...

    class Raising:
        @mlsrv.hookimpl
        def mlsrv_codecs(self) -> None:
            raise ValueError("boom")

    with pytest.raises(PluginError, match=r"^The plugin Wrong is wrong: .*did you mean mlsrv_codecs"):
        Plugins([Wrong()], discover=False)
    with pytest.raises(PluginError, match=r"^The plugin Raising is wrong: boom$"):
        Plugins([Raising()], discover=False)
    with pytest.raises(PluginError, match="Wrong is a class; pass an instance"):
        Plugins([Wrong], discover=False)


def test_an_object_that_is_installed_too_counts_once(install: Install) -> None:
    install("acme-fine", "fine", REPOSITORY.format("fine"))
    module = importlib.import_module("acme_fine")
    plugins = installed(extra=[module])
    assert [row.name for row in acme(plugins)] == ["fine"]
    assert len([row for row in plugins.rows if row.plugin is module]) == 1


def test_the_origin_of_a_plugin_is_remembered_for_other_processes() -> None:
    plugin = Named("x")
    plugins = Plugins([plugin], discover=False, block=["rest"])
    assert (plugins.given, plugins.discovering, plugins.blocked) == ((plugin,), False, frozenset({"rest"}))


# --- calling hooks -------------------------------------------------------------------------------------


class Recorder:
    """Hears of states, and may fail at it."""

    def __init__(self, name: str, heard: list[str], error: Exception | None = None) -> None:
        self.__name__ = name
        self._heard = heard
        self._error = error

    @mlsrv.hookimpl
    def mlsrv_model_state(self, model: ModelSettings, state: State) -> None:
        self._heard.append(f"{self.__name__} {model.name} {state}")
        if self._error is not None:
            raise self._error


def test_a_listener_that_raises_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    plugins = Plugins(
        [Recorder("b", heard, ValueError("deaf")), Recorder("c", heard), Recorder("a", heard)], discover=False
    )
    plugins.model_state(Any, ModelSettings(name="m"), State.READY, "")  # type: ignore[arg-type]  # any kernel
    assert heard == ["a m READY", "b m READY", "c m READY"]
    (record,) = caplog.records
    assert "The plugin b failed in mlsrv_model_state: ValueError: deaf" in record.getMessage()


class Passing(Interceptor):
    def __init__(self, label: str, phase: Phase) -> None:
        self.label = label
        self.phase = phase  # type: ignore[misc]  # of this instance

    async def __call__(self, request: Any, context: Any, call_next: Any) -> Any:
        return await call_next(request, context)


class Intercepting:
    def __init__(self, name: str, *made: Any) -> None:
        self.__name__ = name
        self._made = made

    @mlsrv.hookimpl
    def mlsrv_interceptors(self, kernel: Any, model: Any) -> Any:
        return self._made


def interceptors(*plugins: object) -> list[Any]:
    model = ModelSettings(name="m")
    return Plugins(plugins, discover=False).interceptors(None, model, ModelInfo())  # type: ignore[arg-type]  # unused


def test_interceptors_are_ordered_by_phase_then_plugin() -> None:
    made = interceptors(
        Intercepting("b", Passing("b1", Phase.GUARD), Passing("b2", Phase.OBSERVE)),
        Intercepting("a", Passing("a1", Phase.BATCH), Passing("a2", Phase.GUARD)),
    )
    assert [interceptor.label for interceptor in made] == ["b2", "a2", "b1", "a1"]


def test_a_hook_that_returns_the_wrong_thing_names_the_plugin() -> None:
    with pytest.raises(
        PluginError, match=r"^The plugin a: mlsrv_interceptors returned a int, not an Interceptor"
    ):
        interceptors(Intercepting("a", 3))

    class Lifespan:
        @mlsrv.hookimpl
        def mlsrv_lifespan(self) -> int:
            return 3

    with pytest.raises(
        PluginError, match="Lifespan: mlsrv_lifespan returned a int, not an async context manager"
    ):
        Plugins([Lifespan()], discover=False).lifespans(None)  # type: ignore[arg-type]  # unused


def test_a_hook_that_raises_names_the_plugin() -> None:
    class Lifespan:
        @mlsrv.hookimpl
        def mlsrv_lifespan(self) -> None:
            raise OSError("no route")

    with pytest.raises(
        PluginError, match=r"^The plugin Lifespan failed in mlsrv_lifespan: OSError: no route$"
    ):
        Plugins([Lifespan()], discover=False).lifespans(None)  # type: ignore[arg-type]  # unused


def test_lifespans_come_with_their_plugin() -> None:
    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield

    class Lifespan:
        @mlsrv.hookimpl
        def mlsrv_lifespan(self) -> Any:
            return lifespan()

    class Without:
        @mlsrv.hookimpl
        def mlsrv_lifespan(self) -> None:
            return None

    found = Plugins([Without(), Lifespan()], discover=False).lifespans(None)  # type: ignore[arg-type]  # unused
    assert [label for label, _ in found] == ["Lifespan"]


def test_the_first_runtime_that_is_chosen_counts() -> None:
    class Choosing:
        def __init__(self, name: str, choice: str | None) -> None:
            self.__name__ = name
            self._choice = choice

        @mlsrv.hookimpl
        def mlsrv_select_runtime(self, model: Any, files: Any) -> str | None:
            return self._choice

    plugins = Plugins([Choosing("c", "third"), Choosing("a", None), Choosing("b", "second")], discover=False)
    assert plugins.select_runtime(ModelSettings(name="m"), []) == "second"
    assert Plugins(discover=False).select_runtime(ModelSettings(name="m"), []) is None


def test_each_calls_a_hook_that_a_plugin_added() -> None:
    hooks = ModuleType("hooks")

    @mlsrv.hookspec
    def mlsrv_acme_event(kernel: object) -> None: ...

    hooks.mlsrv_acme_event = mlsrv_acme_event  # type: ignore[attr-defined]  # a module of its own

    class Owner:
        @mlsrv.hookimpl
        def mlsrv_addhooks(self, pluginmanager: Any) -> None:
            pluginmanager.add_hookspecs(hooks)

    class User:
        @mlsrv.hookimpl
        def mlsrv_acme_event(self, kernel: object) -> object:
            return kernel

    plugins = Plugins([User(), Owner()], discover=False)
    assert plugins.each("mlsrv_acme_event", kernel=7) == [("User", 7)]


def test_a_hook_that_no_plugin_added_has_no_results() -> None:
    assert Plugins(discover=False).each("mlsrv_acme_event", kernel=7) == []


# --- plugin files --------------------------------------------------------------------------------------


def test_a_plugin_file(tmp_path: Path) -> None:
    for folder, name in (("a", "first"), ("b", "second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "local.py").write_text("import mlsrv\n" + REPOSITORY.format(name))
    files = [load_plugin_file(tmp_path / folder / "local.py") for folder in ("a", "b")]
    plugins = Plugins(files, discover=False)
    assert [row.name for row in plugins.rows] == ["local", "local-2"]
    assert [offer.name for offer in plugins.offers(mlsrv.RepositoryOffer)] == ["first", "second"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "does not exist"),
        ("import mlsrv\n\nraise ValueError('boom')\n", "fails to import at line 3: ValueError: boom"),
        ("import sys\nsys.exit('enough')\n", "fails to import at line 2: SystemExit: enough"),
        ("def f(:\n", "line 1"),
    ],
)
def test_a_broken_plugin_file(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "broken.py"
    if text is not None:
        path.write_text(text)
    before = set(sys.modules)
    with pytest.raises(ConfigurationError) as caught:
        load_plugin_file(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert set(sys.modules) == before


def test_a_plugin_file_that_is_not_python(tmp_path: Path) -> None:
    (tmp_path / "plugin.txt").write_text("hello")
    with pytest.raises(ConfigurationError, match="is not a Python file"):
        load_plugin_file(tmp_path / "plugin.txt")


# --- settings of plugins -------------------------------------------------------------------------------


def test_a_settings_class_needs_defaults() -> None:
    @settings_class
    class Bad:
        port: int = setting(help="A port.")

    with pytest.raises(ValueError, match="the settings port of Bad need a default"):
        mlsrv.SettingsOffer("server", Bad)
    with pytest.raises(ValueError, match="scope"):
        mlsrv.SettingsOffer("galaxy", Bad)  # type: ignore[arg-type]  # the mistake under test


def test_the_lightest_import_of_a_plugin_is_light() -> None:
    program = (
        "import sys, mlsrv, mlsrv.plugins.offers, mlsrv.plugins.markers, mlsrv_settings_kit.fields; "
        "print([name for name in ('numpy', 'mlsrv_protocol', 'cattrs', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


A = Metric("toys_made", "Toys that were made.", "counter", ("shop",))


def listing(name: str, *metrics: object) -> object:
    """A plugin of this name that lists metrics."""

    class Plugin:
        @mlsrv.hookimpl
        def mlsrv_metrics(self) -> object:
            return metrics

    plugin = Plugin()
    plugin.__name__ = name  # type: ignore[attr-defined]  # which a plugin is called by
    return plugin


def test_the_metrics_of_every_plugin_are_listed() -> None:
    other = evolve(A, name="toys_sold")
    plugins = Plugins([listing("b", A), listing("a", other), listing("c")], discover=False)
    assert plugins.metrics() == [other, A]
    assert Plugins([listing("a", A), listing("b", A)], discover=False).metrics() == [A]


def test_two_metrics_of_one_name_are_an_error_that_names_both_plugins() -> None:
    plugins = Plugins([listing("a", A), listing("b", evolve(A, labels=()))], discover=False)
    with pytest.raises(OfferClash, match=r"metric.*toys_made.*a.*b"):
        plugins.metrics()


def test_a_plugin_that_lists_something_else_is_named() -> None:
    with pytest.raises(PluginError, match="The plugin a: mlsrv_metrics returned a str, not a Metric"):
        Plugins([listing("a", "toys")], discover=False).metrics()


def test_the_kernel_lists_its_own_metrics() -> None:
    names = [metric.name for metric in mlsrv.Kernel(discover=False).plugins.metrics()]
    assert "model_infer_request_success" in names


def naming(*extensions: object) -> object:
    class Plugin:
        @mlsrv.hookimpl
        def mlsrv_extensions(self) -> object:
            return extensions if len(extensions) > 1 else extensions[0]

    return Plugin()


def test_plugins_name_extensions_of_the_protocol() -> None:
    assert Plugins([naming("b"), naming("a", "c")], discover=False).extensions() == ["b", "a", "c"]
    with pytest.raises(PluginError, match="mlsrv_extensions returned a int, not a text"):
        Plugins([naming("a", 1)], discover=False).extensions()
