"""Plugin: the hooks of mlsrv-files."""

from __future__ import annotations

import mlsrv


@mlsrv.hookimpl
def mlsrv_repositories() -> list[mlsrv.RepositoryOffer]:
    """Offer the repositories ``files``, a folder of ``model-settings.json`` files, and ``artifacts``, which
    has none."""
    return [
        mlsrv.RepositoryOffer("files", "mlsrv_files.repository:FilesRepository", priority=1),
        mlsrv.RepositoryOffer("artifacts", "mlsrv_files.artifacts:ArtifactsRepository"),
    ]
