"""The Helm chart, rendered by Helm, and checked against the schemas of Kubernetes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from manifests import DEPLOY, check, documents, yaml
from programs import Run

CHART = str(DEPLOY / "helm/mlsrv")
VERSIONS = ("1.33", "1.37")
"""Of Kubernetes: the oldest that has every kind and field, and a new one."""

OF_OPERATORS = {"PodMonitor", "ScaledObject"}
"""Kinds that Kubernetes itself has no schema for."""

FULL: dict[str, Any] = {
    "replicas": 3,
    "settings": {"parallel_workers": 2, "max_in_flight_bytes": 1073741824, "extensions": ["a"]},
    "models": {"pvc": {"claimName": "models", "subPath": "iris"}},
    "tls": {"secretName": "certificate"},
    "autoscaling": {"enabled": True, "cpuUtilization": 70},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"enabled": True, "from": [{"podSelector": {}}], "metricsFrom": [{"podSelector": {}}]},
    "pdb": {"enabled": True, "maxUnavailable": "50%"},
    "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "t", "key": "k"}}}],
    "envFrom": [{"secretRef": {"name": "more"}}],
    "volumes": [{"name": "more", "emptyDir": {}}],
    "volumeMounts": [{"name": "more", "mountPath": "/more"}],
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "high",
    "podAnnotations": {"a": "b"},
    "podLabels": {"team": "x"},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "serviceAccount": {"create": True, "annotations": {"a": "b"}},
}

MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": FULL,
    "digest": {"image": {"repository": "r.example/iris", "digest": "sha256:" + "0" * 64}},
    "oci": {"models": {"oci": {"reference": "r.example/models:1"}}},
    "copied": {"models": {"initContainer": {"image": "rclone:1", "args": ["copy", "s3:m", "/mnt/models"]}}},
    "scaled-by-cpu": {"autoscaling": {"enabled": True, "requestsInFlight": None, "cpuUtilization": 60}},
    "keda": {"autoscaling": {"enabled": True, "keda": {"serverAddress": "http://prometheus:9090"}}},
    "other-account": {"serviceAccount": {"create": False, "name": "models"}},
    "other-ports": {"ports": {"http": 80, "grpc": 81, "metrics": 82}, "fullnameOverride": "iris"},
    "open-policy": {"networkPolicy": {"enabled": True}},
    "any-user": {"podSecurityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 2000}},
}


@pytest.fixture
def rendered(helm: Run, tmp_path: Path) -> Any:
    """Renders the chart with values: the objects by kind."""

    def render(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
        file = tmp_path / "values.yaml"
        file.write_text(json.dumps(values), encoding="utf-8")
        done = helm("template", "iris", CHART, "--namespace", "ml", "--values", str(file))
        assert done.returncode == 0, done.stderr
        return {found["kind"]: found for found in documents(done.stdout)}

    return render


@pytest.mark.parametrize("case", MATRIX)
def test_every_combination_is_valid(case: str, rendered: Any) -> None:
    found = rendered(MATRIX[case])
    assert {"Deployment", "Service"} <= set(found)
    for kind, item in found.items():
        if kind not in OF_OPERATORS:
            for version in VERSIONS:
                check(item, version)


@pytest.mark.parametrize("case", MATRIX)
def test_the_chart_is_linted(case: str, helm: Run, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(MATRIX[case]), encoding="utf-8")
    done = helm("lint", "--strict", CHART, "--values", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_pod_of_the_defaults(rendered: Any) -> None:
    found = rendered({})
    assert set(found) == {"Deployment", "Service", "ServiceAccount"}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["start", "/mnt/models"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["startupProbe"]["httpGet"]["path"] == "/v2/health/live"
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] == 60
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    stopping = float(env["MLSRV_SHUTDOWN_DELAY"]) + float(env["MLSRV_SHUTDOWN_TIMEOUT"])
    assert pod["terminationGracePeriodSeconds"] > stopping
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp"}


def test_everything_at_once(rendered: Any) -> None:
    found = rendered(FULL)
    deployment = found["Deployment"]["spec"]
    assert "replicas" not in deployment
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["start", "/etc/mlsrv"]
    settings = json.loads(found["ConfigMap"]["data"]["settings.json"])
    assert settings == FULL["settings"] | {"model_repository_root": "/mnt/models"}
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    models = next(mount for mount in container["volumeMounts"] if mount["name"] == "models")
    assert models == {"name": "models", "mountPath": "/mnt/models", "subPath": "iris", "readOnly": True}
    metrics = [metric["type"] for metric in found["HorizontalPodAutoscaler"]["spec"]["metrics"]]
    assert metrics == ["Pods", "Resource"]
    assert found["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["scheme"] == "https"
    selector = found["Service"]["spec"]["selector"]
    assert selector.items() <= deployment["template"]["metadata"]["labels"].items()
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        assert found[kind]["spec"]["selector"]["matchLabels"] == selector


def test_pods_are_replaced_when_settings_change(rendered: Any) -> None:
    def checksum(workers: int) -> str:
        found = rendered({"settings": {"parallel_workers": workers}})
        return str(found["Deployment"]["spec"]["template"]["metadata"]["annotations"]["checksum/settings"])

    assert checksum(1) == checksum(1) != checksum(2)


def test_keda_takes_the_place_of_the_autoscaler(rendered: Any) -> None:
    found = rendered(MATRIX["keda"])
    assert "HorizontalPodAutoscaler" not in found
    (trigger,) = found["ScaledObject"]["spec"]["triggers"]
    assert trigger["metadata"]["serverAddress"] == "http://prometheus:9090"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"image": {"repo": "x"}}, "'repo' not allowed"),
    ({"replicas": "two"}, "/replicas"),
    ({"ports": {"http": 70000}}, "/ports/http"),
    ({"image": {"digest": "latest"}}, "/image/digest"),
    ({"settings": {"http_port": 1}}, "settings.http_port: the chart sets it, see the value ports.http"),
    ({"models": {"pvc": {"claimName": "a"}, "oci": {"reference": "b"}}}, "only one of pvc, oci may be set"),
    ({"models": {"pvc": {}}}, "/models/pvc"),
    ({"pdb": {"maxUnavailable": "half"}}, "/pdb/maxUnavailable"),
]


@pytest.mark.parametrize(("values", "reason"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_wrong_values_are_refused(values: dict[str, Any], reason: str, helm: Run, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(values), encoding="utf-8")
    done = helm("template", "iris", CHART, "--values", str(file))
    assert done.returncode != 0
    assert reason in done.stderr


def test_the_schema_has_every_value() -> None:
    values = yaml.safe_load((DEPLOY / "helm/mlsrv/values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((DEPLOY / "helm/mlsrv/values.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]) == {*values, "global"}
    for name, value in values.items():
        known = schema["properties"][name].get("properties")
        if known is not None:
            assert set(value) <= set(known), name
