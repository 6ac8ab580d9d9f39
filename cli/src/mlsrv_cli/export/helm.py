"""Helm: the chart of mlsrv, and its values for an image with models."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

from mlsrv.errors import ConfigurationError
from mlsrv_cli.export.service import UNLOADING, Service

CHART = "mlsrv"
"""Name of the chart, and of its folder."""


def values(service: Service, tls_secret: str | None = None) -> str:
    """Return the text of the values that differ from those of the chart.

    Args:
        service: what is run.
        tls_secret: the name of a secret with its certificate.

    Raises:
        ConfigurationError: the folder's settings name a certificate, and there is no secret.
    """
    if service.tls and tls_secret is None:
        raise ConfigurationError(
            "settings.json sets tls_cert, a file; put the certificate into a secret of type "
            "kubernetes.io/tls, and give its name as --tls-secret."
        )
    rest, _, digest = service.image.partition("@")
    repository, tag = rest, ""
    if ":" in rest.rpartition("/")[2]:
        repository, _, tag = rest.rpartition(":")
    made = {
        "fullnameOverride": service.name,
        "image": {"repository": repository, "tag": tag or ("" if digest else "latest"), "digest": digest},
        "ports": service.ports,
        "shutdown": {"delay": service.delay, "timeout": service.timeout, "margin": UNLOADING},
    }
    if tls_secret:
        made["tls"] = {"secretName": tls_secret}
    lines = []
    for name, value in made.items():
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {key}: {json.dumps(inner)}" for key, inner in value.items())]
        else:
            lines.append(f"{name}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def copy_chart(target: Path) -> None:
    """Copy the chart to a folder that is not there yet."""
    shutil.copytree(chart(), target)


def chart() -> Path:
    """Return the folder of the chart: of the installed package, or else of the clone."""
    installed = Path(str(files("mlsrv_cli"))) / "chart"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "deploy/helm" / CHART
