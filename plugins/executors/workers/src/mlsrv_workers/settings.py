"""Settings: worker pools, and models in them."""

from __future__ import annotations

from typing import Literal

from mlsrv.settings import setting, settings_class


@settings_class
class WorkerSettings:
    """Server settings."""

    parallel_workers: int = setting(
        1, help="Worker processes of the default pool; 0 runs models in the server.", at_least=0
    )
    parallel_workers_timeout: float = setting(
        5.0,
        help="Seconds in which a worker must end when the server stops, before it is killed.",
        at_least=0,
    )
    worker_threads: int | None = setting(
        None,
        help="Threads that numeric libraries (OpenMP, BLAS) may use in a worker; default: cores / workers, "
        "at least 1.",
        at_least=1,
    )
    worker_concurrency: int = setting(
        2,
        help="Requests to synchronous models that one worker runs at once; async models run up to 64.",
        at_least=1,
    )
    worker_short_calls: bool = setting(
        True,
        help="Run a synchronous predict on the event loop of its worker, one call at a time, while its calls "
        "take less than a millisecond. False: always in threads, worker_concurrency at once.",
    )
    worker_arena_bytes: int = setting(
        256 * 1024 * 1024,
        help="Shared memory for large tensors, in bytes for each worker and direction; allocated only as "
        "it is used.",
        at_least=0,
    )
    worker_heartbeat: float | None = setting(
        30.0,
        help="Seconds in which the event loop of a worker must answer, before the worker is replaced; it "
        "gets no more requests as soon as an answer is missing. Null switches this off.",
        at_least=0.1,
    )
    worker_abandoned_timeout: float | None = setting(
        10.0,
        help="Seconds that a synchronous request may run on after its client has left, before it counts as "
        "overdue as it does after its deadline. A worker in which overdue requests take all slots is "
        "replaced. Null: only the deadline counts.",
        at_least=0,
    )
    worker_max_requests: int | None = setting(
        None,
        help="Requests after which a worker is replaced by a fresh one, without a gap; default: never.",
        at_least=1,
    )
    worker_max_memory_bytes: int | None = setting(
        None,
        help="Bytes in memory above which a worker is replaced by a fresh one, without a gap; Linux only. "
        "Default: no limit.",
        at_least=1,
    )
    environments_dir: str = setting(
        ".envs",
        help="Folder in which environments of models are unpacked and built; kept for the next start.",
        path=True,
    )
    environment_timeout: float | None = setting(
        1800.0,
        help="Seconds in which an environment of a model must be unpacked or built, before the load fails. "
        "Null: no limit.",
        at_least=0,
    )
    on_deadline: Literal["keep", "restart"] = setting(
        "keep",
        help='Treatment of a worker that still runs a request after its deadline: "keep" it while it has '
        'slots for other requests, or "restart" it if the request does not end within another second.',
    )


@settings_class
class WorkerModelSettings:
    """Model settings."""

    parallel_workers: int | None = setting(
        None,
        help="0 runs this model in the server process; another number gives it a pool of its own, of that "
        "size.",
        at_least=0,
    )
    warm_workers: bool = setting(False, help="Accepted for compatibility; workers are always warm.")
    pool: str | None = setting(
        None, help="Name of a pool, other than the default one, that several models share."
    )


ENVIRONMENT_PARAMETERS = ("environment_tarball", "environment_path", "environment_requirements")
POOL_PARAMETER = "inference_pool_gid"
"""Keys of the object ``parameters`` of model settings, as in MLServer."""
