"""Importing costs little and touches nothing: `mlsrv` itself, and the `plugin.py` of every plugin."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workspace import Room, rooms

LIGHT = {"attr", "attrs", "pluggy"}
"""What may be loaded besides the standard library and the kernel's own light modules."""

MACHINERY = {"mlsrv_hosting_kit", "mlsrv_settings_kit", "mlsrv_telemetry_kit"}
"""Kits below the kernel, whose light modules are part of it."""

MAY_READ_ENVIRONMENT = {
    "mlsrv_settings_kit.references",  # takes the variables that a settings file names
    "mlsrv_runtime_kit.threads",  # honours the limit of threads that numeric libraries have agreed on
    "mlsrv_testing.fixtures",  # compares it before and after a test
    "mlsrv_huggingface.configuration",  # takes the parameters that Seldon Core 1 gives to a node
    "mlsrv_mllib.session",  # looks for Java where Spark will, to say that it is absent
    "mlsrv_mlserver.command",  # a command line, whose options have defaults there
    "mlsrv_ray.cluster",  # sets how long Ray waits for its head node, which Ray takes from there alone
    "mlsrv_workers.pool.launch_spec",  # hands it on to the processes that it starts
}

PROBE = """
import json, logging, os, signal, sys, threading
events = []

def note(event, args):
    if event.split(".")[0] in ("socket", "subprocess"):
        events.append(event)

sys.addaudithook(note)

def state():
    return {
        "environment": dict(os.environ),
        "handlers": repr(logging.root.handlers) + str(logging.root.level),
        "signals": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "threads": threading.active_count(),
        "directory": os.getcwd(),
        "path": list(sys.path),
    }

before, loaded = state(), set(sys.modules)
MODULES = %r
for name in MODULES:
    __import__(name)
changed = [key for key, value in state().items() if value != before[key]]
print(json.dumps({"changed": changed, "events": events, "modules": sorted(set(sys.modules) - loaded)}))
"""


def after_importing(*modules: str) -> dict[str, Any]:
    """What importing did in a fresh interpreter."""
    command = [sys.executable, "-c", PROBE % (modules,)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def third_party(modules: list[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in modules}
    return {top for top in tops if top not in sys.stdlib_module_names}


@pytest.mark.parametrize(
    "module",
    [
        "mlsrv",
        "mlsrv.plugins.offers",
        "mlsrv.plugins.markers",
        "mlsrv.settings",
        "mlsrv.plugins.hookspecs",
    ],
)
def test_the_light_part_of_the_kernel(module: str) -> None:
    found = after_importing(module)
    assert third_party(found["modules"]) - LIGHT - MACHINERY == {"mlsrv"}
    assert found["changed"] == []
    assert found["events"] == []


def test_the_whole_kernel_touches_nothing() -> None:
    found = after_importing("mlsrv.kernel", "mlsrv.testing", "mlsrv_protocol", "mlsrv.codecs", "mlsrv.errors")
    assert found["changed"] == []
    assert found["events"] == []
    assert "mlsrv.kernel" in found["modules"]


def test_what_most_servers_never_need_is_left_out_of_the_transports() -> None:
    found = after_importing("mlsrv_rest.transport", "mlsrv_rest.servers.combined", "mlsrv_grpc.transport")
    found["modules"] += after_importing("mlsrv_prometheus.transport")["modules"]
    assert {"uvicorn", "grpc"} < third_party(found["modules"])
    heavy = {"hypercorn", "h2", "google.protobuf.descriptor_pb2", "google.protobuf.descriptor_pool"}
    assert not heavy.intersection(found["modules"])


PLUGINS = [(room, name, target) for room in rooms() for name, target in room.entry_points.items()]


@pytest.mark.parametrize(("room", "name", "target"), PLUGINS, ids=[name for _, name, _ in PLUGINS])
def test_a_plugin_is_light_to_import(room: Room, name: str, target: str) -> None:
    found = after_importing(target.partition(":")[0])
    assert third_party(found["modules"]) - LIGHT - MACHINERY <= {"mlsrv", room.package}
    assert found["changed"] == []
    assert found["events"] == []


def reads_environment(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("environ", "environb", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(tree)
    )


def test_only_the_command_line_reads_the_environment() -> None:
    readers = {
        module
        for room in rooms()
        if room.where != "cli"
        for module, path in room.modules()
        if reads_environment(path)
    }
    assert readers <= MAY_READ_ENVIRONMENT
