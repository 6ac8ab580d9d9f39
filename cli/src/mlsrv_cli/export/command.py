"""Command ``mlsrv export``: manifests for the image of a folder of models."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import rich_click as click

from mlsrv.errors import ConfigurationError
from mlsrv_cli.export.compose import compose_file
from mlsrv_cli.export.helm import CHART, copy_chart, values
from mlsrv_cli.export.kserve import inference_service
from mlsrv_cli.export.service import Service, service_of

_FORMS: Mapping[str, Callable[[Service], str]] = {
    "kserve": inference_service,
    "compose": compose_file,
}
"""Kinds that are one file."""


@click.command()
@click.argument("kind", type=click.Choice(["kserve", "helm", "compose"]))
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--image", required=True, help='The image of FOLDER, as "mlsrv build" made it.')
@click.option("--name", help="The name of the service; that of FOLDER by default.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write here instead of printing.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@click.option("--tls-secret", metavar="NAME", help="Only for helm: the secret with the certificate.")
def export(
    kind: str,
    folder: Path,
    image: str,
    name: str | None,
    output: Path | None,
    force: bool,
    tls_secret: str | None,
) -> None:
    """Print what runs the image of FOLDER: an InferenceService of KServe, values for the Helm chart of mlsrv,
    or a file for Docker Compose.

    With --output, helm makes a folder of the chart and of values.yaml.
    """
    service = service_of(folder, image, name)
    if tls_secret is not None and kind != "helm":
        raise ConfigurationError(f"--tls-secret: {kind} has no such thing; it is for helm.")
    text = values(service, tls_secret) if kind == "helm" else _FORMS[kind](service)
    if output is None:
        print(text, end="")
        return
    written = [output / CHART, output / "values.yaml"] if kind == "helm" else [output]
    there = [str(path) for path in written if path.exists()]
    if there and not force:
        raise ConfigurationError(f"{', '.join(there)} exists already; --force replaces it.")
    try:
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        if kind == "helm":
            if written[0].exists():
                shutil.rmtree(written[0])
            copy_chart(written[0])
        written[-1].write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{error.filename or output} cannot be written: {error.strerror}") from None
    for path in written:
        print(path)
