"""Kernels: isolated from the network and from installed plugins, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from mlsrv.kernel.kernel import Kernel
from mlsrv.plugins.manager import Plugins
from mlsrv.plugins.offers import SettingsOffer
from mlsrv.settings import ModelSettings


def make_kernel(
    *models: ModelSettings, plugins: Sequence[object] = (), discover: bool = False, **settings: Any
) -> Kernel:
    """Return a kernel that is isolated in the process and on the network.

    It has the given plugins only, the loopback address, and a free port for each setting ``…_port`` of a
    plugin that is not given.

    Args:
        models: its models.
        plugins: plugin objects.
        discover: whether installed plugins are loaded too.
        settings: server settings.

    Raises:
        ConfigurationError: as `Kernel`.
    """
    offers = Plugins(plugins, discover=discover).offers(SettingsOffer)
    fields = [field.name for offer in offers if offer.scope == "server" for field in attrs.fields(offer.cls)]
    ports = {name: 0 for name in fields if name.endswith("_port")}
    return Kernel(
        {"host": "127.0.0.1", **ports, **settings}, plugins=plugins, models=models, discover=discover
    )
