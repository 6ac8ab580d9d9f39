"""Plugin: the hooks of mlsrv-files."""

from __future__ import annotations

import mlsrv


@mlsrv.hookimpl
def mlsrv_repositories() -> mlsrv.RepositoryOffer:
    """Offer the repository ``files``: a folder of ``model-settings.json`` files."""
    return mlsrv.RepositoryOffer("files", "mlsrv_files.repository:FilesRepository", priority=1)
