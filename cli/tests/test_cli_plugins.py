"""``mlsrv plugins`` and plugins that do not work, as distributions in a folder of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def site(tmp_path: Path) -> Path:
    made = tmp_path / "site"
    made.mkdir()
    return made


@pytest.fixture
def install(site: Path):
    """Installs a plugin as pip would: its module, and a distribution with an entry point."""

    def put(name: str, code: str, version: str = "1.2.3", distribution: str | None = None) -> dict[str, str]:
        distribution = distribution or f"acme-{name}"
        (site / f"acme_{name}.py").write_text(code)
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(
            f"[console_scripts]\nx = y:z\n\n[mlsrv]\n{name} = acme_{name}\n"
        )
        return {"PYTHONPATH": str(site)}

    return put


CODEC = """
import mlsrv

@mlsrv.hookimpl
def mlsrv_codecs():
    return mlsrv.CodecOffer("upper", "acme_upper_codec:Upper")

@mlsrv.hookimpl
def mlsrv_model_state(model, state):
    pass
"""

COMMANDS = """
import mlsrv

@mlsrv.hookimpl(optionalhook=True)
def mlsrv_cli_commands(group):
    group.add("greet", "acme_greet_commands:greet", help="Say hello.")
"""

GREET = """
import click

@click.command()
@click.argument("name")
def greet(name):
    print(f"Hello, {name}!")
"""


def test_the_offers_of_a_plugin_are_listed(mlsrv, install) -> None:
    env = install("upper", CODEC)
    found = {row["name"]: row for row in json.loads(mlsrv("plugins", "--json", env=env).stdout)}
    assert found["upper"] == {
        "name": "upper",
        "distribution": "acme-upper",
        "version": "1.2.3",
        "offers": [{"kind": "codec", "name": "upper"}],
        "hooks": ["mlsrv_model_state"],
        "blocked": False,
        "error": None,
    }
    line = next(line for line in mlsrv("plugins", env=env).stdout.splitlines() if line.startswith("upper "))
    assert line.split(maxsplit=3) == ["upper", "acme-upper", "1.2.3", "codec upper, hook mlsrv_model_state"]


def test_a_broken_plugin_is_listed_with_its_reason_and_stops_nothing(mlsrv, install) -> None:
    env = install("sick", "raise RuntimeError('out of order')\n")
    done = mlsrv("plugins", env=env)
    assert done.returncode == 0
    assert done.stderr == ""
    line = next(line for line in done.stdout.splitlines() if line.startswith("sick "))
    assert "did not load: RuntimeError: out of order" in line
    assert mlsrv("--help", env=env).returncode == 0


def test_a_broken_plugin_is_a_warning_of_the_server(start, install) -> None:
    server = start(env=install("sick", "import no_such_module\n"))
    assert "WARNING" in server.wait_for("The plugin sick (acme-sick 1.2.3) did not load")
    server.wait_for("tiny://")
    assert server.stop() == 0


def test_a_broken_plugin_whose_settings_are_used_stops_the_start(mlsrv, install, tmp_path: Path) -> None:
    code = "raise RuntimeError('out of order')\n"
    env = install("zipkin", code, distribution="mlsrv-opentelemetry", version="9")
    done = mlsrv("start", tmp_path, "--set", "tracing_server=localhost", "--block", "opentelemetry", env=env)
    assert done.returncode == 2
    assert "mlsrv-opentelemetry is installed but did not load: RuntimeError: out of order" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_blocked_plugins_are_not_imported(mlsrv, install, tmp_path: Path) -> None:
    env = install("sick", "raise RuntimeError('out of order')\n")
    row = next(
        row
        for row in json.loads(mlsrv("plugins", "--json", "--block", "sick", env=env).stdout)
        if row["name"] == "sick"
    )
    assert row["blocked"] is True
    assert row["error"] is None


def test_plugins_of_one_name_are_told_apart(mlsrv, install) -> None:
    install("upper", CODEC)
    env = install("lower", CODEC)
    done = mlsrv("config", "check", ".", env=env)
    assert done.returncode == 2
    assert "acme-lower" in done.stderr
    assert "acme-upper" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_in_a_file_is_listed(mlsrv, tiny: Path) -> None:
    rows = json.loads(mlsrv("plugins", "--json", "--plugin", tiny).stdout)
    row = next(row for row in rows if row["name"] == "tiny")
    assert row["distribution"] == "(given)"
    assert {offer["kind"] for offer in row["offers"]} == {"server settings", "transport"}


def test_a_plugin_adds_a_command(mlsrv, install, site: Path) -> None:
    env = install("greet", COMMANDS)
    assert "greet       Say hello." in mlsrv("--help", env=env).stdout
    (site / "acme_greet_commands.py").write_text(GREET)
    done = mlsrv("greet", "Ada", env=env)
    assert (done.returncode, done.stdout) == (0, "Hello, Ada!\n")
    row = next(
        row for row in json.loads(mlsrv("plugins", "--json", env=env).stdout) if row["name"] == "greet"
    )
    assert row["error"] is None
    assert row["hooks"] == ["mlsrv_cli_commands"]


def test_a_command_that_cannot_be_loaded_is_one_line(mlsrv, install) -> None:
    done = mlsrv("greet", "Ada", env=install("greet", COMMANDS))
    assert done.returncode == 1
    assert done.stderr.startswith('Error: The command "greet" of greet cannot be loaded: No module named')
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("HOOK = 'mlsrv_cli_commands'\nimport no_such_module\n", "No module named 'no_such_module'"),
        (
            COMMANDS.replace('"greet",', '"start",', 1),
            'the command "start" comes from both mlsrv-cli and greet',
        ),
        (COMMANDS.replace("acme_greet_commands:greet", "acme_greet_commands"), "package.module:attribute"),
        (COMMANDS.replace("(group)", "(grupp)"), "grupp"),
    ],
)
def test_a_plugin_whose_commands_do_not_work_is_named_and_the_rest_works(
    mlsrv, install, code: str, reason: str
) -> None:
    done = mlsrv("--help", env=install("greet", code))
    assert done.returncode == 0
    assert 'The commands of the plugin "greet" are missing' in done.stdout
    assert reason in done.stdout
    assert "Serve a model, or a folder of models." in done.stdout
