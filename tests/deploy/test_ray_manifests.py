"""Manifests for a Ray cluster and the server beside it, checked against the schemas of Kubernetes."""

from __future__ import annotations

from typing import Any

import pytest
from manifests import DEPLOY, check, documents, manifest

FOLDER = DEPLOY / "ray"


def server() -> dict[str, dict[str, Any]]:
    """The objects of the server, by kind."""
    return {item["kind"]: item for item in documents((FOLDER / "server.yaml").read_text(encoding="utf-8"))}


def test_the_server_is_valid() -> None:
    for item in server().values():
        check(item)


@pytest.mark.parametrize("group", ["head", "workers"])
def test_the_pods_of_the_cluster_are_valid(group: str) -> None:
    """Kubernetes has no schema for a RayCluster, but for what it holds."""
    spec = manifest("ray/raycluster.yaml")["spec"]
    found = spec["headGroupSpec"] if group == "head" else spec["workerGroupSpecs"][0]
    check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **found["template"]})
    assert all(isinstance(value, str) for value in found["rayStartParams"].values())
    assert found.keys() <= {
        "groupName",
        "replicas",
        "minReplicas",
        "maxReplicas",
        "rayStartParams",
        "template",
    }


def test_the_cluster_is_one_of_kuberay() -> None:
    """The fields beside the pods, as the operator's schema has them."""
    cluster = manifest("ray/raycluster.yaml")
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    spec = cluster["spec"]
    assert spec.keys() == {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"}
    assert isinstance(spec["rayVersion"], str)
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["headGroupSpec"].keys() == {"rayStartParams", "template"}
    (workers,) = spec["workerGroupSpecs"]
    assert isinstance(workers["groupName"], str)
    counts = [workers[name] for name in ("minReplicas", "replicas", "maxReplicas")]
    assert all(type(count) is int for count in counts)
    assert counts == sorted(counts)


def test_the_server_finds_the_cluster_and_shares_what_the_workers_have() -> None:
    cluster = manifest("ray/raycluster.yaml")
    pod = server()["Deployment"]["spec"]["template"]["spec"]
    (node,), (main,) = pod["initContainers"], pod["containers"]
    address = f"{cluster['metadata']['name']}-head-svc:6379"
    assert {variable["name"]: variable["value"] for variable in main["env"]}["MLSRV_RAY_ADDRESS"] == address
    assert f"--address={address}" in node["command"]
    workers = cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    (worker,) = workers["containers"]
    assert {node["image"], main["image"], worker["image"]} == {main["image"]}
    (models,) = (mount for mount in main["volumeMounts"] if mount["name"] == "models")
    assert models in worker["volumeMounts"]
    assert all(volume in pod["volumes"] for volume in workers["volumes"])
