"""Settings: the documentation."""

from __future__ import annotations

from mlsrv.settings import setting, settings_class


@settings_class
class OpenAPISettings:
    """Server settings."""

    docs_enabled: bool = setting(True, help="Serve documentation pages and OpenAPI documents.")
