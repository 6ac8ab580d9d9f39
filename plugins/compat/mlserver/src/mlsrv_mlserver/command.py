"""Command ``mlserver``: MLServer's commands and options, carried out by those of ``mlsrv``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import mlserver

_INFER = "MLSERVER_INFER_"
_SWITCHES = {
    "binary-data": ["-b"],
    "verbose": ["-v"],
    "extra-verbose": ["-vv"],
    "use-ssl": [],
    "insecure": [],
}
"""Switches of ``infer``, with their short forms."""
_TRUE = ("1", "true", "t", "yes", "y", "on")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code of the command of ``mlsrv`` that did the work."""
    given = parser(os.environ).parse_args(sys.argv[1:] if arguments is None else arguments)
    code: int = import_module("mlsrv_cli.main").main(given.translate(given))
    return code


def parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the parser of the arguments; `environ` has the defaults of ``infer``."""
    made = argparse.ArgumentParser("mlserver", description="MLServer's commands, carried out by mlsrv.")
    made.add_argument("--version", action="version", version=mlserver.__version__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    start = commands.add_parser("start", help="serve the models of a folder")
    start.add_argument("folder")
    start.set_defaults(translate=lambda given: ["start", given.folder])
    build = commands.add_parser("build", help="build an image of a folder")
    build.add_argument("folder")
    build.add_argument("-t", "--tag", required=True)
    build.add_argument("--no-cache", action="store_true")
    build.set_defaults(translate=_build)
    dockerfile = commands.add_parser("dockerfile", help="write a Dockerfile for a folder")
    dockerfile.add_argument("folder")
    dockerfile.add_argument("-i", "--include-dockerignore", action="store_true")
    dockerfile.set_defaults(translate=_dockerfile)
    init = commands.add_parser("init", help="make a folder for a new model")
    init.add_argument("-t", "--template", help="not used: mlsrv has a template of its own")
    init.add_argument("name", nargs="?", default="my-model")
    init.set_defaults(translate=lambda given: ["init", "model", given.name])
    _add_infer(commands.add_parser("infer", help="send the requests of a file"), environ)
    return made


def _add_infer(infer: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    def option(*names: str, variable: str, default: str | None = None, **more: object) -> None:
        value = environ.get(_INFER + variable, default)
        infer.add_argument(*names, default=value, required=value is None, **more)  # type: ignore[arg-type]  # as declared

    option("-u", "--url", variable="URL", default="localhost:8080")
    option("-m", "--model-name", variable="MODEL_NAME")
    option("-i", "--input-data-path", variable="INPUT_DATA_PATH")
    option("-o", "--output-data-path", variable="OUTPUT_DATA_PATH")
    option("-w", "--workers", variable="WORKERS", default="10")
    option("-r", "--retries", variable="RETRIES", default="3")
    option("-s", "--batch-size", variable="BATCH_SIZE", default="1")
    option("-t", "--transport", variable="TRANSPORT", default="rest", choices=["rest", "grpc"])
    option("--timeout", variable="CONNECTION_TIMEOUT", default="60")
    headers = environ.get(_INFER + "REQUEST_HEADERS")
    infer.add_argument("-H", "--request-headers", action="append", default=headers.split() if headers else [])
    for name, letters in _SWITCHES.items():
        variable = _INFER + name.upper().replace("-", "_")
        on = environ.get(variable, "").strip().lower() in _TRUE
        infer.add_argument(*letters, f"--{name}", action="store_true", default=on)
    for ignored in ("--batch-interval", "--batch-jitter"):
        infer.add_argument(ignored, help="not used: the server says when it has room")
    infer.set_defaults(translate=_infer)


def _build(given: argparse.Namespace) -> list[str]:
    return ["build", given.folder, "--tag", given.tag, *(["--no-cache"] if given.no_cache else [])]


def _dockerfile(given: argparse.Namespace) -> list[str]:
    return ["dockerfile", given.folder, "--write", "--force"]


def _infer(given: argparse.Namespace) -> list[str]:
    scheme = "grpc" if given.transport == "grpc" else "http"
    url = given.url if "://" in given.url else f"{scheme}{'s' if given.use_ssl else ''}://{given.url}"
    made = ["infer", given.model_name, given.input_data_path, "--format", "jsonl", "--url", url, "--force"]
    made += ["--output", given.output_data_path, "--parallel", given.workers, "--retries", given.retries]
    made += ["--batch", given.batch_size, "--timeout", given.timeout]
    for header in given.request_headers:
        name, _, value = header.partition(":")
        made += ["--header", f"{name.strip()}: {value.strip()}"]
    if given.insecure:
        made.append("--insecure")
    if given.transport == "rest" and not given.binary_data:
        made.append("--json")
    return made


if __name__ == "__main__":
    sys.exit(main())
