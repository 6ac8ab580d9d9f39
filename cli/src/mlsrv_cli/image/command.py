"""Commands ``mlsrv dockerfile`` and ``mlsrv build``: container images of a folder of models."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import rich_click as click

from mlsrv.errors import ConfigurationError
from mlsrv.settings.server import KERNEL_DISTRIBUTION
from mlsrv_cli.image.dockerfile import WHEELS, dockerignore
from mlsrv_cli.image.dockerfile import dockerfile as text_of
from mlsrv_cli.image.needs import needed
from mlsrv_cli.options import load_plugins

BUILDERS = ("docker", "podman", "buildah")
"""Programs that build images, the preferred first."""

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
_BASE = click.option("--base", default="python:3.12-slim-bookworm", show_default=True, help="The base image.")
_ADD = click.option("--add", multiple=True, metavar="NAME", help="Also install a distribution of mlsrv.")

_WHEELS = click.option(
    "--wheels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Install from the wheels in FOLDER, and from the package index what it does not have.",
)


@click.command()
@_FOLDER
@_BASE
@_ADD
@_WHEELS
@click.option("--write", is_flag=True, help="Write Dockerfile and .dockerignore into FOLDER.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def dockerfile(
    folder: Path, base: str, add: Sequence[str], wheels: Path | None, write: bool, force: bool
) -> None:
    """Print a Dockerfile for the models of FOLDER, with the plugins that they need.

    Its last layers are the packages in FOLDER/requirements.txt, if there is one, and FOLDER itself. One with
    wheels is built with "--build-context wheels=…", as "mlsrv build --wheels" does.
    """
    _check(wheels)
    text = _dockerfile(folder, base, add, wheels)
    if not write:
        print(text, end="")
        return
    files = {folder / "Dockerfile": text, folder / ".dockerignore": dockerignore()}
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise ConfigurationError(f"{', '.join(there)} exists already; --force replaces it.")
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
        print(path)


@click.command()
@_FOLDER
@click.option("--tag", "-t", required=True, help="Name and tag of the image.")
@_BASE
@_ADD
@_WHEELS
@click.option("--builder", type=click.Choice(BUILDERS), help="The program that builds; the first installed.")
@click.option("--no-cache", is_flag=True, help="Build every layer anew.")
@click.option("--print", "only_print", is_flag=True, help="Print the command, and run nothing.")
@click.pass_context
def build(
    ctx: click.Context,
    folder: Path,
    tag: str,
    base: str,
    add: Sequence[str],
    wheels: Path | None,
    builder: str | None,
    no_cache: bool,
    only_print: bool,
) -> None:
    """Build an image that serves the models of FOLDER.

    It is described by FOLDER/Dockerfile if there is one, else by what "mlsrv dockerfile" prints.
    """
    _check(wheels)
    own = folder / "Dockerfile"
    if only_print:
        print(shlex.join(_command(builder or BUILDERS[0], folder, own, tag, wheels, no_cache)))
        return
    program = builder or next(filter(shutil.which, BUILDERS), None)
    if program is None or shutil.which(program) is None:
        wanted = builder or ", ".join(BUILDERS[:-1]) + f" or {BUILDERS[-1]}"
        raise ConfigurationError(f"{wanted} is not installed; it builds the image.")
    with tempfile.TemporaryDirectory(prefix="mlsrv-build-") as scratch:
        file = own
        if not own.exists():
            file = Path(scratch, "Dockerfile")
            file.write_text(_dockerfile(folder, base, add, wheels), encoding="utf-8")
            # Builders look for this list beside the file, by its name.
            Path(scratch, "Dockerfile.dockerignore").write_text(dockerignore(), encoding="utf-8")
        done = subprocess.run(_command(program, folder, file, tag, wheels, no_cache), check=False)
    ctx.exit(done.returncode and 1)


def _check(wheels: Path | None) -> None:
    if wheels is not None and not any(wheels.glob("*.whl")):
        raise ConfigurationError(f"--wheels: there is no wheel in {wheels}.")


def _dockerfile(folder: Path, base: str, add: Sequence[str], wheels: Path | None) -> str:
    found = [*needed(folder, load_plugins().plugins), *add]
    return text_of(
        list(dict.fromkeys(found)),
        version=version(KERNEL_DISTRIBUTION),
        base=base,
        requirements=(folder / "requirements.txt").is_file(),
        wheels=wheels is not None,
        title=folder.absolute().name,
    )


def _command(
    program: str, folder: Path, file: Path, tag: str, wheels: Path | None, no_cache: bool
) -> list[str]:
    verb = ["buildah", "build"] if program == "buildah" else [program, "build"]
    context = [] if wheels is None else ["--build-context", f"{WHEELS}={wheels}"]
    cache = ["--no-cache"] if no_cache else []
    return [*verb, "--tag", tag, "--file", str(file), *context, *cache, str(folder)]
