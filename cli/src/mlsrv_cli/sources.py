"""Settings sources: the folder's settings.json, the environment and the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlsrv.errors import ConfigurationError
from mlsrv.plugins.offers import RepositoryOffer
from mlsrv.settings import Layer, Settings, environment_layers, file_layer
from mlsrv_cli.foreign import told_of_model
from mlsrv_cli.targets import Target

SETTINGS_FILE = "settings.json"
MODELS_DIR = "MLSRV_MODELS_DIR"
"""Variable that has the argument PATH where the command line has none. It is no setting."""
_IDENTITY = {"name", "implementation", "uri", "parameters"}
"""Keys by which the environment describes a model."""

# Variables that Kubernetes adds to every container for a service called "mlsrv"; they are no settings.
_SERVICE_LINK = re.compile(
    r"MLSRV(_\w+)?_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def read_settings(
    target: Target,
    repositories: Iterable[RepositoryOffer],
    environ: Mapping[str, str],
    given: Mapping[str, str],
    names: Mapping[str, str],
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the settings of a folder or file, merged from every source.

    Args:
        target: what is served; where models are looked for unless a source says otherwise.
        repositories: the kinds of repositories that are installed.
        environ: the environment.
        given: values from the command line, as texts.
        names: how a key of `given` was spelt there, for messages (``"--http-port"``).
        defaults: of plugins, by key.

    Raises:
        ConfigurationError: the ``settings.json`` cannot be read.
    """
    server, models = environment_layers(settings_variables(environ))
    described = not _IDENTITY.isdisjoint(models.values)
    layers = [Layer("plugins", defaults, optional=True)] if defaults else []
    layers.append(Layer("PATH", target.values(repositories, described)))
    if (target.folder / SETTINGS_FILE).exists():
        layers.append(file_layer(target.folder / SETTINGS_FILE))
    layers += [server, Layer("command line", given, text=True, names=names)]
    return Settings.from_layers(layers, model_layer=models, unread=told_of_model(environ))


def make_importable(folder: Path) -> None:
    """Make code of the folder and of the working directory importable, after the installed packages."""
    for path in (str(Path.cwd()), str(folder.absolute())):
        if path not in sys.path:
            sys.path.append(path)


def assignments(texts: Iterable[str]) -> dict[str, str]:
    """Return the values of ``--set key=value`` options; of two with one key the last one counts.

    Raises:
        ConfigurationError: one of them has no ``=``.
    """
    pairs = [text.partition("=") for text in texts]
    wrong = [key for key, sign, _ in pairs if not sign or not key.strip()]
    if wrong:
        raise ConfigurationError([f'--set {key}: expected "key=value"' for key in wrong])
    return {key.strip(): value for key, _, value in pairs}


def settings_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what is no setting: `MODELS_DIR`, and the addresses that Kubernetes adds
    for a service named "mlsrv"."""
    return {
        name: value
        for name, value in environ.items()
        if name != MODELS_DIR
        and not _SERVICE_LINK.fullmatch(name)
        and not (name.startswith("MLSRV") and name.endswith("_PORT") and _SERVICE_ADDRESS.match(value))
    }
