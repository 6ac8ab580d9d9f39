"""What ``mlsrv export`` writes, read by the programs that it is for."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from manifests import check, documents
from programs import Run, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "Iris 2"
    found.mkdir()
    settings = {"http_port": 9080, "shutdown_delay": 2, "shutdown_timeout": 7.5}
    (found / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return found


def test_a_chart_with_values(folder: Path, tmp_path: Path, mlsrv: Run, helm: Run) -> None:
    image = "r.example:5000/iris@sha256:" + "0" * 64
    out = tmp_path / "out"
    done = mlsrv("export", "helm", str(folder), "--image", image, "--output", str(out))
    assert done.returncode == 0, done.stderr
    chart = ["iris", str(out / "mlsrv"), "--values", str(out / "values.yaml")]
    assert helm("lint", "--strict", *chart[1:]).returncode == 0
    rendered = {item["kind"]: item for item in documents(helm("template", *chart).stdout)}
    for item in rendered.values():
        check(item)
    assert rendered["Deployment"]["metadata"]["name"] == "iris"
    pod = rendered["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == image
    assert pod["containers"][0]["ports"][0]["containerPort"] == 9080
    assert pod["terminationGracePeriodSeconds"] == 2 + 8 + 15


def test_an_inference_service(folder: Path, mlsrv: Run) -> None:
    done = mlsrv("export", "kserve", str(folder), "--image", "r.example/iris:1", "--name", "true")
    (found,) = documents(done.stdout)
    assert found["metadata"]["name"] == "true"
    predictor = found["spec"]["predictor"]
    assert predictor["terminationGracePeriodSeconds"] == 25
    (container,) = predictor["containers"]
    assert container["name"] == "kserve-container"
    assert container["readinessProbe"]["httpGet"]["port"] == 9080
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": predictor}
    check(pod)


def test_a_file_for_compose(folder: Path, tmp_path: Path, mlsrv: Run) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is installed by: nox -s deploy")
    file = tmp_path / "compose.yaml"
    arguments = ["export", "compose", str(folder), "--image", "iris:1", "--name", "on", "-o", str(file)]
    assert mlsrv(*arguments).returncode == 0
    done = run("docker-compose", "--file", str(file), "config")
    assert done.returncode == 0, done.stderr
    (found,) = documents(done.stdout)
    service = found["services"]["on"]
    assert service["read_only"] is True
    assert service["stop_grace_period"] == "25s"
    assert service["ports"][0] == {"published": 9080, "target": 9080}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_health_check_of_compose_is_a_program(folder: Path, mlsrv: Run, scheme: str) -> None:
    if scheme == "https":
        (folder / "settings.json").write_text('{"tls_cert": "a.pem"}', encoding="utf-8")
    done = mlsrv("export", "compose", str(folder), "--image", "iris:1")
    (found,) = documents(done.stdout)
    _, program, *arguments = found["services"]["iris"]["healthcheck"]["test"]
    assert program == "python"
    assert f"{scheme}://127.0.0.1:" in arguments[1]
    failed = run(sys.executable, "-W", "error", *arguments)
    assert failed.returncode == 1
    assert "refused" in failed.stderr
