"""Dockerfile: the text of one for a folder of models, and of the list of files that it leaves out."""

from __future__ import annotations

import json
from collections.abc import Sequence

IGNORED = (
    ".git",
    ".venv",
    "**/__pycache__",
    "**/*.pyc",
    "**/.env",
    "**/.ipynb_checkpoints",
    "Dockerfile",
    ".dockerignore",
)
"""Patterns of the file ``.dockerignore``."""

FOLDER = "/mnt/models"
"""Where the models are in an image."""

WHEELS = "wheels"
"""The name of the build context that holds wheels."""

_HOME = "/opt/mlsrv"


def dockerfile(
    distributions: Sequence[str],
    *,
    version: str,
    base: str = "python:3.12-slim-bookworm",
    requirements: bool = False,
    wheels: bool = False,
    title: str = "mlsrv",
) -> str:
    """Return the text of a Dockerfile.

    The layers are, the most stable first: the base, mlsrv with its plugins, the requirements of the models,
    the models. The same folder gives the same text.

    Args:
        distributions: those of mlsrv to install, see `mlsrv_cli.image.needs.needed`.
        version: of mlsrv.
        base: an image with Python and pip.
        requirements: whether the folder has a ``requirements.txt``.
        wheels: whether wheels come from the further build context `WHEELS`, before those of an index.
        title: of the image.
    """
    packages = " ".join(json.dumps(f"{name}=={version}") for name in distributions)
    install = f"RUN --mount=type=cache,target=/root/.cache/uv \\\n    uv pip install --python {_HOME}/venv"
    local = f"COPY --from={WHEELS} . /tmp/wheels\nENV UV_FIND_LINKS=/tmp/wheels\n" if wheels else ""
    own = f"\nCOPY requirements.txt /tmp/requirements.txt\n{install} -r /tmp/requirements.txt\n"
    labels = {
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.base.name": base,
        "org.opencontainers.image.description": "Models served by mlsrv",
    }
    listed = " \\\n      ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    return f"""\
# syntax=docker/dockerfile:1
FROM {base} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN --mount=type=cache,target=/root/.cache/pip \\
    pip install "uv>=0.9,<1" && uv venv {_HOME}/venv
{local}{install} {packages}
{own if requirements else ""}RUN chmod -R g=u {_HOME}

FROM {base}
LABEL {listed}
ENV HOME={_HOME} PATH={_HOME}/venv/bin:$PATH PYTHONUNBUFFERED=1
COPY --from=build --chown=1000:0 {_HOME} {_HOME}
COPY --chown=1000:0 . {FOLDER}
WORKDIR {FOLDER}
USER 1000:0
EXPOSE 8080 8081 8082
STOPSIGNAL SIGTERM
ENTRYPOINT ["mlsrv"]
CMD ["start", "{FOLDER}"]
"""


def dockerignore() -> str:
    """Return the text of the file ``.dockerignore``."""
    return "".join(f"{pattern}\n" for pattern in IGNORED)
