"""``mlsrv start``: what it serves, what it says, and how it fails."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest


def test_serves_the_models_of_a_folder_and_says_so(start, add_model, folder: Path) -> None:
    add_model("first", parameters={"version": "v1"})
    add_model("second")
    server = start()
    assert str(folder) in server.wait_for("Serving ")
    server.wait_for("tiny listens on tiny://127.0.0.1:")
    server.wait_for("Model first version v1 is READY")
    server.wait_for("2 of 2 models ready")
    assert server.ask() == []
    port = server.port
    assert server.stop() == 0
    assert server.errors == ""
    assert server.lines[-1].endswith("Stopped")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("options", "warned"),
    [((), True), (("--host", "127.0.0.1"), False), (("--set", "insecure=true"), False)],
    ids=["everywhere", "loopback", "insecure"],
)
def test_a_server_that_runs_as_root_says_so(start, add_model, options, warned) -> None:
    add_model("good")
    server = start(*options)
    server.wait_for("1 of 1 models ready")
    assert server.stop() == 0
    said = [line for line in server.lines if "runs as root" in line]
    assert len(said) == (warned and os.geteuid() == 0)


def test_an_empty_folder_is_served_with_a_warning(start) -> None:
    server = start()
    assert "WARNING" in server.wait_for("There are no models in")
    assert server.stop() == 0


def test_a_broken_model_is_told_with_its_reason_and_the_others_are_served(start, add_model) -> None:
    add_model("good")
    add_model("bad", code="raise RuntimeError('no licence')\n")
    server = start("--host", "127.0.0.1")
    assert "no licence" in server.wait_for("Model bad is UNAVAILABLE")
    server.wait_for("1 of 2 models ready")
    assert any("no licence" in problem for problem in server.ask())
    assert server.stop() == 0


def test_load_failures_can_end_the_start(start, add_model) -> None:
    add_model("good")
    add_model("bad", code="raise RuntimeError('no licence')\n")
    add_model("worse", implementation="code_of_it.Nothing")
    server = start("--on-load-failure", "exit")
    assert server.wait() == 1
    lines = sorted(server.errors.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith("Error: Model bad: ")
    assert "no licence" in lines[0]
    assert lines[1].startswith("Error: Model worse: ")


def test_a_port_in_use_is_one_line(start, add_model) -> None:
    add_model("good")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = start("--tiny-port", str(port))
        assert server.wait() == 2
    assert server.errors == f"Error: 127.0.0.1:{port} cannot be used: Address already in use.\n"


def test_debug_shows_the_traceback(start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start("--tiny-port", str(taken.getsockname()[1]), "--debug")
        assert server.wait() == 2
    assert "Traceback" in server.errors
    assert server.errors.splitlines()[-1].startswith("Error: 127.0.0.1:")


def test_every_wrong_setting_is_a_line_with_its_origin(start, folder: Path) -> None:
    (folder / "settings.json").write_text('{"hots": "localhost", "max_in_flight": "many"}')
    server = start("--tiny-port", "high", env={"MLSRV_DEBUG": "perhaps"})
    assert server.wait() == 2
    lines = server.errors.splitlines()
    assert all(line.startswith("Error: ") for line in lines)
    assert len(lines) == 4
    text = server.errors
    assert f'{folder / "settings.json"}: unknown key "hots"; did you mean "host"?' in text
    assert f"{folder / 'settings.json'}: max_in_flight: expected a whole number, got 'many'" in text
    assert "environment MLSRV_DEBUG: expected true or false, got 'perhaps'" in text
    assert "command line --tiny-port: expected a whole number, got 'high'" in text


def test_a_missing_folder(mlsrv, tmp_path: Path) -> None:
    done = mlsrv("start", tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr == f'Error: There is no file or folder "{tmp_path / "nowhere"}".\n'
    (tmp_path / "file").touch()
    failed = mlsrv("start", tmp_path / "file", "--block", "workers", "--block", "grpc", "--http-port", "0")
    assert failed.returncode == 1
    assert "no installed runtime knows its artifact (file)" in failed.stderr


def test_an_unreadable_settings_file(mlsrv, folder: Path) -> None:
    (folder / "settings.json").write_text("{")
    done = mlsrv("start", folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {folder / 'settings.json'}: is not valid JSON at line 1")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_transport(mlsrv, folder: Path) -> None:
    done = mlsrv(
        "start", folder, "--block", "rest", "--block", "grpc", "--block", "kafka", "--block", "workers"
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "Error: No transport is installed and enabled; install one (pip install mlsrv-rest)."
    ]


def test_a_plugin_file_that_does_not_work(mlsrv, folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken_plugin.py"
    broken.write_text("import no_such_module\n")
    done = mlsrv("start", folder, "--plugin", broken)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"Error: The plugin file {broken} fails to import at line 1: ModuleNotFoundError"
    )
    assert len(done.stderr.splitlines()) == 1
    assert "does not exist" in mlsrv("start", folder, "--plugin", tmp_path / "nowhere.py").stderr


def test_command_line_beats_environment_beats_file(start, folder: Path, free_ports: list[int]) -> None:
    of_file, of_environment, of_option = free_ports
    (folder / "settings.json").write_text(json.dumps({"tiny_port": of_file}))
    environment = {"MLSRV_TINY_PORT": str(of_environment)}
    for options, env, port in (
        ([], {}, of_file),
        ([], environment, of_environment),
        (["--set", f"tiny_port={of_option}"], environment, of_option),
        (["--tiny-port", str(of_option)], environment, of_option),
    ):
        server = start(*options, env=env)
        assert server.port == port
        assert server.stop() == 0


def test_variables_of_mlserver_are_named_and_not_read(start) -> None:
    server = start(env={"MLSERVER_HTTP_PORT": "9", "MLSERVER_DEBUG": "true"})
    warning = server.wait_for("MLSERVER_HTTP_PORT")
    assert "WARNING" in warning
    assert "MLSRV_DEBUG, MLSRV_HTTP_PORT" in warning
    assert server.stop() == 0


def test_service_links_of_kubernetes_are_no_settings(start) -> None:
    server = start(env={"MLSRV_PORT": "tcp://10.0.0.7:8080", "MLSRV_SERVICE_HOST": "10.0.0.7"})
    server.wait_for("tiny://")
    assert server.stop() == 0


def test_code_beside_the_models_can_be_imported(start, folder: Path) -> None:
    (folder / "shared_by_models.py").write_text("from mlsrv.testing import EchoModel\n")
    (folder / "deep").mkdir()
    settings = {"name": "deep", "implementation": "shared_by_models.EchoModel"}
    (folder / "deep" / "model-settings.json").write_text(json.dumps(settings))
    server = start()
    server.wait_for("Model deep is READY")
    assert server.stop() == 0


def test_models_elsewhere_when_the_file_says_so(start, folder: Path, add_model) -> None:
    add_model("inside")
    (folder / "more").mkdir()
    (folder / "inside").rename(folder / "more" / "inside")
    add_model("outside")
    (folder / "settings.json").write_text('{"model_repository_root": "more"}')
    server = start()
    server.wait_for("1 of 1 models ready")
    assert not any("outside" in line for line in server.lines)
    assert server.stop() == 0


def test_a_model_from_the_environment(start, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from mlsrv.testing import EchoModel\n")
    server = start(env={"MLSRV_MODEL_NAME": "single", "MLSRV_MODEL_IMPLEMENTATION": "mine.EchoModel"})
    server.wait_for("Model single is READY")
    assert server.stop() == 0


def test_objects_of_the_start_are_frozen_for_the_collector(start, add_model, tmp_path: Path) -> None:
    add_model("good")
    plugin = tmp_path / "counting.py"
    plugin.write_text(
        "import contextlib, gc, mlsrv\n\n"
        "@contextlib.asynccontextmanager\nasync def count():\n"
        "    yield\n    print('frozen:', gc.get_freeze_count(), flush=True)\n\n"
        "@mlsrv.hookimpl\ndef mlsrv_lifespan(kernel):\n    return count()\n"
    )
    server = start("--plugin", str(plugin))
    server.wait_for("1 of 1 models ready")
    assert server.stop() == 0
    assert int(server.wait_for("frozen:").split()[1]) > 10_000


def test_runs_without_uvloop(start, add_model) -> None:
    add_model("good")
    program = "import sys; sys.modules['uvloop'] = None; from mlsrv_cli.main import main; sys.exit(main())"
    server = start(python=program)
    server.wait_for("1 of 1 models ready")
    assert server.stop() == 0
    assert server.errors == ""


def test_models_are_left_alone_when_the_settings_say_so(
    folder: Path, add_model, only_tiny, environment, terminal
) -> None:
    add_model("good")
    command = [sys.executable, "-m", "mlsrv_cli", "start", str(folder), *only_tiny]
    text = terminal([*command, "--no-load-models-at-startup"], environment, until=" ready ─╯")
    assert "– good  not loaded" in text


def test_a_terminal_gets_panels(folder: Path, add_model, only_tiny, environment, terminal) -> None:
    add_model("good", parameters={"version": "v1"})
    add_model("bad", code="raise RuntimeError('no [licence]')\n")
    command = [sys.executable, "-m", "mlsrv_cli", "start", str(folder), *only_tiny]
    text = terminal(command, environment | {"COLUMNS": "160"}, until="not ready ─╯")
    assert "╭─ mlsrv " in text
    assert "tiny     tiny://127.0.0.1:" in text
    assert "ctrl-C stops the server" in text
    assert "✓ good v1" in text
    assert "✗ bad" in text
    assert "no [licence]" in text
