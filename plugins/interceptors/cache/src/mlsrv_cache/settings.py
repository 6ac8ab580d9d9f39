"""Settings: the response cache."""

from __future__ import annotations

import re

from mlsrv.settings import setting, settings_class

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+")


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
    cache_vary: list[str] = setting(
        factory=list,
        help="Names of request headers that the model's answers depend on; requests are equal only if these "
        "are. principal stands for who asks, where an authorizer is installed.",
    )

    def __attrs_post_init__(self) -> None:
        for name in self.cache_vary:
            if name == "*" or not _HEADER.fullmatch(name):
                raise ValueError(f"cache_vary: expected names of headers, got {name!r}")
