"""Who may import whom: plugins the kernel, the kernel the protocol, nobody what it does not declare."""

import ast
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workspace import ROOT, Room, plugins, rooms

PROTOCOL_NEEDS = {"attr", "attrs", "cattr", "cattrs", "numpy", "orjson", "simdjson"}
TESTING_NEEDS = {"pytest", "pytest_asyncio", "hypothesis"}
KITS = tuple(
    f"plugins-contrib/mlsrv-{name}"
    for name in ("testing", "runtime-kit", "executor-kit", "transport-kit", "arguments")
)
"""Kits for authors, on the kernel."""
MACHINERY = tuple(f"plugins-contrib/mlsrv-{name}-kit" for name in ("hosting", "settings", "telemetry"))
"""Kits below the kernel, which know nothing of it."""
KERNEL_NEEDS = {"attr", "attrs", "mlsrv_protocol", "numpy", "pluggy"} | {
    where.rpartition("/")[2].replace("-", "_") for where in MACHINERY
}

CONTRACTS = """
[importlinter]
root_packages =
    {packages}
include_external_packages = True

[importlinter:contract:layers]
name = Command line and plugins do not know each other; below: kits, the kernel, its machinery, the protocol
type = layers
layers =
    {top}
    mlsrv_testing | mlsrv_runtime_kit | mlsrv_executor_kit | mlsrv_transport_kit | mlsrv_arguments
    mlsrv
    mlsrv_hosting_kit | mlsrv_settings_kit | mlsrv_telemetry_kit
    mlsrv_protocol

[importlinter:contract:kernel]
name = The kernel is free of every transport, framework and user interface
type = forbidden
source_modules =
    mlsrv
    mlsrv_hosting_kit
    mlsrv_settings_kit
    mlsrv_telemetry_kit
    mlsrv_protocol
forbidden_modules =
    starlette
    hypercorn
    uvicorn
    pandas
    prometheus_client
    click
    rich_click
"""


def test_layers(tmp_path: Path) -> None:
    below = ("protocol", *MACHINERY, "core", *KITS)
    ours = [room for room in rooms() if room.is_plugin or room.where in ("cli", *below)]
    top = " | ".join(room.package for room in ours if room.where not in below)
    packages = "\n    ".join(room.package for room in ours)
    config = tmp_path / "contracts.ini"
    config.write_text(CONTRACTS.format(packages=packages, top=top), encoding="utf-8")
    sources = os.pathsep.join(str(room.source.parent) for room in ours)
    program = "from importlinter.cli import lint_imports_command as main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", str(config), "--no-cache"],
        env=os.environ | {"PYTHONPATH": sources},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def imported(path: Path) -> dict[str, int]:
    """The absolute imports of a file, wherever they stand: dotted name -> line."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name: node.lineno for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            found[node.module] = node.lineno
    return found


def third_party(room: Room) -> dict[str, set[str]]:
    """Each top-level package from elsewhere that the room imports, and the modules that do so."""
    found: dict[str, set[str]] = {}
    packages = {source.name for source in room.sources}
    for module, path in room.modules():
        for name in imported(path):
            top = name.partition(".")[0]
            if top not in packages and top not in sys.stdlib_module_names:
                found.setdefault(top, set()).add(module)
    return found


def in_part(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def room_at(where: str) -> Room:
    return next(room for room in rooms() if room.where == where)


def test_the_protocol_needs_little() -> None:
    surplus = {
        top: outside
        for top, modules in third_party(room_at("protocol")).items()
        if top not in PROTOCOL_NEEDS
        and (outside := {module for module in modules if not _may_need(module, top)})
    }
    assert not surplus


def _may_need(module: str, top: str) -> bool:
    """Whether a part of the protocol with an extra of its own may import something that others may not."""
    return (
        _needs_grpc(module)
        or (top == "httpx" and in_part(module, "mlsrv_protocol.client"))
        or (top == "confluent_kafka" and module.startswith("mlsrv_protocol.client.kafka_"))
    )


def _needs_grpc(module: str) -> bool:
    """Return whether a module of the protocol belongs to its extra `grpc`."""
    return in_part(module, "mlsrv_protocol.grpc") or module == "mlsrv_protocol.client.grpc_channel"


def test_nothing_imports_the_grpc_form_by_accident() -> None:
    for module, path in room_at("protocol").modules():
        names = {name for name in imported(path) if in_part(name, "mlsrv_protocol.grpc")}
        assert not names or _needs_grpc(module), f"{module} imports {names}"


def test_the_kernel_needs_little() -> None:
    surplus = {
        top: modules
        for top, modules in third_party(room_at("core")).items()
        if top not in KERNEL_NEEDS
        and not (top in TESTING_NEEDS and all(in_part(module, "mlsrv.testing") for module in modules))
    }
    assert not surplus


@pytest.fixture(scope="module")
def distributions() -> dict[str, set[str]]:
    """The distributions that provide each import package."""
    provided = {
        top: {name.lower().replace("_", "-") for name in names}
        for top, names in importlib.metadata.packages_distributions().items()
    }
    return provided | {source.name: {room.distribution} for room in rooms() for source in room.sources}


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.where)
def test_a_room_declares_what_it_imports(room: Room, distributions: dict[str, set[str]]) -> None:
    """What the kernel and the protocol bring along needs no second mention."""
    declared = set(room.requirements)
    for where in ("core", *MACHINERY, "protocol"):
        if room_at(where).distribution in declared:
            declared |= set(room_at(where).requirements)
    undeclared = {
        top: modules
        for top, modules in third_party(room).items()
        if not distributions.get(top, {top.replace("_", "-")}) & declared
        and not (top in TESTING_NEEDS and all(in_part(module, "mlsrv.testing") for module in modules))
        # Suites for the authors' kit, which alone loads that module.
        and not (top == "mlsrv_testing" and modules == {f"{room.package}.contracts"})
    }
    assert not undeclared, f"{room.where}/pyproject.toml does not list what these modules import"


def test_every_room_was_found() -> None:
    assert {"protocol", "core", "cli"} <= {room.where for room in rooms()}
    assert plugins()
    assert (ROOT / "noxfile.py").is_file()
