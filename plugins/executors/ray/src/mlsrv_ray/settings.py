"""Settings: the Ray cluster, and the models on it."""

from __future__ import annotations

from typing import Any, Literal

from mlsrv.settings import setting, settings_class


@settings_class
class RaySettings:
    """Server settings."""

    ray_address: str | None = setting(
        None,
        help="The Ray cluster that runs models whose executor is ray: HOST:PORT, or auto for that of this "
        "machine. local starts a small one in this machine for trying, which ends with the server.",
    )
    ray_namespace: str = setting("mlsrv", help="Namespace of the actors in the cluster.")
    ray_connect_timeout: float = setting(
        60.0, help="Seconds in which the cluster must answer when the server connects.", at_least=0.1
    )
    ray_check_interval: float = setting(
        5.0, help="Seconds between two checks that the cluster answers.", at_least=0.1
    )


@settings_class
class RayModelSettings:
    """Model settings; they count for models whose executor is ray."""

    ray_num_cpus: float = setting(1.0, help="CPUs that each replica reserves.", at_least=0)
    ray_num_gpus: float = setting(0.0, help="GPUs that each replica reserves.", at_least=0)
    ray_resources: dict[str, float] = setting(
        factory=dict, help="Custom resources of Ray that each replica reserves, by name."
    )
    ray_runtime_env: dict[str, Any] = setting(
        factory=dict, help="Runtime environment of the replicas, as Ray takes it: pip, env_vars and so on."
    )
    ray_replicas: int = setting(1, help="Replicas, each with a copy of the model.", at_least=1)
    ray_min_replicas: int | None = setting(
        None,
        help="Replicas that are left at least: those above end after a minute without requests. Default: "
        "ray_replicas.",
        at_least=1,
    )
    ray_max_replicas: int | None = setting(
        None,
        help="Replicas that are started at most, one after the other while requests wait. Default: "
        "ray_replicas.",
        at_least=1,
    )
    ray_placement: Literal["spread", "pack"] = setting(
        "spread", help="Whether replicas go to different nodes, or to as few as possible."
    )
    ray_concurrency: int | None = setting(
        None,
        help="Requests that a replica runs at once. Default: 2 for a synchronous predict, 64 for one that is "
        "a coroutine.",
        at_least=1,
    )
    ray_artifacts: Literal["shared", "object_store", "working_dir"] = setting(
        "shared",
        help="How the files of a model reach the nodes: under the same path on each, as a copy of the "
        "model's folder through the object store of Ray, or as the working directory of the replicas.",
    )
    copy_inputs: bool = setting(
        False,
        help="Copy large input tensors for the model, which are read-only in the memory of Ray otherwise.",
    )
