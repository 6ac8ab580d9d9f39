"""Settings: the response cache."""

from __future__ import annotations

from mlsrv.settings.fields import setting, settings_class


@settings_class
class CacheSettings:
    """Server settings."""

    cache_enabled: bool = setting(False, help="Allow response caches; each model then chooses for itself.")
    cache_size: int = setting(100, help="Responses that the cache of one model keeps.")
    cache_max_bytes: int = setting(
        64 * 1024 * 1024, help="Bytes of tensors that the cache of one model keeps."
    )


@settings_class
class CacheModelSettings:
    """Model settings."""

    cache_enabled: bool = setting(
        False, help="Answer equal requests to this model from memory; needs the server's cache_enabled too."
    )
