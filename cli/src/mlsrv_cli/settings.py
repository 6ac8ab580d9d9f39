"""Settings of the command line."""

from __future__ import annotations

from mlsrv.settings import setting, settings_class


@settings_class
class ProcessSettings:
    """Server settings; an embedded kernel, which is one process, does not read them."""

    processes: int = setting(
        1,
        help="Processes that serve the same ports, each with all models; for models that cost less than the "
        "server around them. Limits and worker processes are those of each process.",
        at_least=1,
    )
