"""Installed codecs: those of plugins by name, without importing a plugin before its codec is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlsrv.codecs.registry import CodecRegistry

from mlsrv_settings_kit.known_plugins import is_installed, known_names, owner_of


def installed_names() -> list[str]:
    """Return the names of those codecs whose plugin is installed, without importing one."""
    return [
        name for name in known_names("codec_classes") if is_installed(owner_of("codec_classes", name) or "")
    ]


def installed_codec(module: str, name: str, names: tuple[str, ...] | None = None) -> Any:
    """Return the codec that `module` has under `name`; without `names`, any codec of a known plugin.

    Raises:
        AttributeError: `name` is not in `names`.
        ImportError: the plugin is not installed; the message says how to.
    """
    distribution = owner_of("codec_classes", name)
    if distribution is None or (names is not None and name not in names):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    package = distribution.replace("-", "_")
    try:
        return getattr(import_module(package), name)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(
            f"mlsrv.codecs.{name} needs the plugin {distribution} (pip install {distribution})", name=package
        ) from None


def installed_registry() -> CodecRegistry:
    """Return a registry of the codecs of all installed plugins, for a model that no server has loaded."""
    from mlsrv.codecs.registry import CodecRegistry
    from mlsrv.plugins.manager import Plugins
    from mlsrv.plugins.offers import CodecOffer

    return CodecRegistry(Plugins().attributed(CodecOffer))
