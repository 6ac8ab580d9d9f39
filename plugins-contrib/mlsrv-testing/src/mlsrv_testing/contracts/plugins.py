"""Contract of plugins: the cases that each must pass, for any kind of offer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, ClassVar

import attrs
import pytest

from mlsrv.codecs import InputCodec, RequestCodec
from mlsrv.executor import Executor
from mlsrv.kernel.kernel import Kernel
from mlsrv.metrics import Meter
from mlsrv.model import MLModel
from mlsrv.plugins.offers import (
    CodecOffer,
    ExecutorOffer,
    MeterOffer,
    NamedOffer,
    RepositoryOffer,
    RuntimeOffer,
    SettingsOffer,
    TransportOffer,
    resolve_target,
)
from mlsrv.repository import ModelRepository
from mlsrv.settings import help_of
from mlsrv.transport import Transport

_BASES: dict[type, type] = {
    RuntimeOffer: MLModel,
    RepositoryOffer: ModelRepository,
    ExecutorOffer: Executor,
    TransportOffer: Transport,
    MeterOffer: Meter,
}
_LIGHT = {
    *("attr", "attrs", "mlsrv", "pluggy"),
    *("mlsrv_hosting_kit", "mlsrv_settings_kit", "mlsrv_telemetry_kit"),  # below the kernel, and part of it
}

_PROBE = """
import importlib, json, logging, os, signal, sys, threading

def state():
    return {
        "environment variables": dict(os.environ),
        "the root logger": repr(logging.root.handlers) + str(logging.root.level),
        "signal handlers": {int(one): repr(signal.getsignal(one)) for one in signal.valid_signals()},
        "threads": threading.active_count(),
        "sys.path": list(sys.path),
        "the working directory": os.getcwd(),
    }

sys.path[:] = json.loads(sys.argv[2])
before, loaded = state(), set(sys.modules)
importlib.import_module(sys.argv[1])
after = state()
print(json.dumps([[key for key in after if after[key] != before[key]], sorted(set(sys.modules) - loaded)]))
"""


class PluginContract:
    """Cases for a plugin as a whole.

    Attributes:
        plugin: the module with the hook implementations, or an object with them as methods.
    """

    plugin: ClassVar[object]

    def test_it_stands_alone(self) -> None:
        """A kernel with this plugin and no other can be made, twice in one process.

        Guards against: a plugin that needs what happens to be installed beside it, or keeps global state.
        """
        for _ in range(2):
            (row,) = [row for row in self._kernel().plugins.rows if row.plugin is self.plugin]
            assert row.error is None

    def test_its_module_is_light(self) -> None:
        """The entry point's module imports `mlsrv`, its own package and the standard library.

        Guards against: an ``mlsrv --help`` that takes seconds because a framework is imported for it.
        """
        module = self._module()
        _, imported = self._imported(module)
        tops = {name.partition(".")[0] for name in imported} - _LIGHT - sys.stdlib_module_names
        tops.discard(module.partition(".")[0])
        assert not tops, f"importing {module} imports {', '.join(sorted(tops))}"

    def test_importing_it_touches_nothing(self) -> None:
        """Importing its module changes no environment variable, logger, signal handler or path.

        Guards against: a plugin that reconfigures every program in whose environment it is installed.
        """
        changed, _ = self._imported(self._module())
        assert not changed, f"importing it changes {', '.join(changed)}"

    def test_its_targets_are_there(self) -> None:
        """Every offer leads to a class of the right kind.

        Guards against: a misspelt target, which shows when the first user needs it.
        """
        for offer in self._offers():
            found = resolve_target(offer.target)
            wanted = _base(offer)
            assert isinstance(found, type), f'"{offer.name}" leads to {found!r}, which is no class'
            assert issubclass(found, wanted), f'"{offer.name}" leads to {found!r}, no {wanted.__name__}'
            if isinstance(offer, CodecOffer):
                content_type = getattr(found, "ContentType", None)
                assert content_type == offer.name, f'"{offer.name}" has the ContentType {content_type!r}'

    def test_its_settings_have_help(self) -> None:
        """Every setting says what it does.

        Guards against: options of the command line without an explanation.
        """
        for offer in self._kernel().plugins.offers(SettingsOffer):
            silent = [one.name for one in attrs.fields(offer.cls) if not help_of(one).strip()]
            assert not silent, f"{offer.cls.__name__}: {', '.join(silent)} without a help text"

    def _kernel(self) -> Kernel:
        return Kernel(plugins=[self.plugin], discover=False)

    def _offers(self) -> Iterator[NamedOffer]:
        for row in self._kernel().plugins.rows:
            if row.plugin is self.plugin:
                yield from (offer for offer in row.offers if not isinstance(offer, SettingsOffer))

    def _module(self) -> str:
        name = self.plugin.__name__ if isinstance(self.plugin, ModuleType) else ""
        if PathFinder.find_spec(name.partition(".")[0]) is None:
            pytest.skip("it is no module that can be imported by name")
        return name

    def _imported(self, module: str) -> tuple[list[str], list[str]]:
        command = [sys.executable, "-c", _PROBE, module, json.dumps(sys.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        changed, imported = json.loads(done.stdout)
        return changed, imported


def _base(offer: NamedOffer) -> type[Any]:
    if isinstance(offer, CodecOffer):
        return RequestCodec if offer.kind == "request" else InputCodec
    return _BASES[type(offer)]
