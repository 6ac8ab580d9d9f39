"""Manifests for the image of a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlsrv.errors import ConfigurationError
from mlsrv_cli.export.compose import compose_file
from mlsrv_cli.export.helm import chart, values
from mlsrv_cli.export.kserve import inference_service
from mlsrv_cli.export.service import UNLOADING, service_of

IMAGE = "registry.example/iris:1"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mlsrv_cli", "export", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "Iris 2"
    found.mkdir()
    return found


def write(folder: Path, **settings: object) -> None:
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")


def test_the_facts_of_a_folder(folder: Path) -> None:
    found = service_of(folder, IMAGE)
    assert found.name == "iris"
    assert found.ports == {"http": 8080, "grpc": 8081, "metrics": 8082}
    write(folder, http_port="9000", shutdown_timeout=2.6, tls_cert="cert.pem")
    found = service_of(folder, IMAGE, "other")
    assert (found.name, found.ports["http"], found.scheme) == ("other", 9000, "https")
    assert found.grace == found.delay + 3 + UNLOADING


@pytest.mark.parametrize(
    ("settings", "image", "name", "reason"),
    [
        ({"http_port": "many"}, IMAGE, None, "http_port: expected a number, got 'many'"),
        ({"http_port": 0}, IMAGE, None, "a port is 0"),
        ({}, "a b", None, "--image 'a b': expected a reference"),
        ({}, IMAGE, "-x", "--name -x: expected up to 50"),
        ({}, IMAGE, "x" * 51, "expected up to 50"),
    ],
)
def test_what_cannot_be_exported(
    settings: dict[str, object], image: str, name: str | None, reason: str, folder: Path
) -> None:
    write(folder, **settings)
    with pytest.raises(ConfigurationError) as caught:
        service_of(folder, image, name)
    assert reason in str(caught.value)


def test_values_of_the_chart(folder: Path) -> None:
    lines = values(service_of(folder, "r.example:5000/iris")).splitlines()
    assert '  repository: "r.example:5000/iris"' in lines
    assert '  tag: "latest"' in lines
    write(folder, tls_cert="cert.pem")
    with pytest.raises(ConfigurationError, match="give its name as --tls-secret"):
        values(service_of(folder, IMAGE))
    assert '  secretName: "certificate"' in values(service_of(folder, IMAGE), "certificate").splitlines()


def test_the_chart_is_there() -> None:
    assert (chart() / "Chart.yaml").is_file()
    assert (chart() / "templates/deployment.yaml").is_file()


def test_the_other_forms(folder: Path) -> None:
    service = service_of(folder, IMAGE)
    assert "name: kserve-container" in inference_service(service)
    assert f"terminationGracePeriodSeconds: {service.grace}" in inference_service(service)
    assert f"stop_grace_period: {service.grace}s" in compose_file(service)


def test_the_command(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "below" / "compose.yaml"
    printed = run("compose", str(folder), "--image", IMAGE)
    assert printed.returncode == 0, printed.stderr
    arguments = ("compose", str(folder), "--image", IMAGE, "--output", str(file))
    assert run(*arguments).returncode == 0
    assert file.read_text(encoding="utf-8") == printed.stdout
    again = run(*arguments)
    assert again.returncode == 2
    assert "exists already; --force replaces it" in again.stderr
    assert run(*arguments, "--force").returncode == 0


def test_a_chart_is_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("helm", str(folder), "--image", IMAGE, "--output", str(out))
    assert run(*arguments).returncode == 0
    (out / "mlsrv/old.txt").touch()
    assert run(*arguments, "--force").returncode == 0
    assert not (out / "mlsrv/old.txt").exists()
    assert (out / "mlsrv/values.schema.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["kserve", ".", "--image", IMAGE, "--tls-secret", "x"], "it is for helm"),
        (["kserve", "."], "Missing option '--image'"),
        (["nomad", ".", "--image", IMAGE], "is not one of"),
        (["kserve", "./nothing", "--image", IMAGE], "does not exist"),
        (["kserve", ".", "--name", "x", "--image", IMAGE, "-o", "/proc/x/y"], "cannot be written"),
    ],
)
def test_mistakes(arguments: list[str], reason: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
