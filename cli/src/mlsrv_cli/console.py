"""Console reports of ``mlsrv start``: log lines, or panels on an interactive terminal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol, TextIO

from mlsrv_cli.version import version_of

if TYPE_CHECKING:
    from mlsrv.controlplane.handle import ModelHandle
    from mlsrv.kernel import Kernel

logger = logging.getLogger("mlsrv.cli")

STOPPING = "ctrl-C stops the server"


class Reporter(Protocol):
    """Receives the states that a server reaches."""

    def listening(self, kernel: Kernel) -> None:
        """Report that every transport listens."""

    def loaded(self, kernel: Kernel) -> None:
        """Report that every model is ready or has failed."""

    def stopped(self) -> None:
        """Report that the server has stopped as requested."""


def make_reporter(out: TextIO, *, structured: bool) -> Reporter:
    """Return a reporter with panels on a terminal, unless JSON lines are wanted; else one with log lines."""
    return TerminalReporter(out) if out.isatty() and not structured else LogReporter()


class LogReporter:
    """Reports with the logger ``mlsrv.cli``; structured logs get the facts as fields, too."""

    def listening(self, kernel: Kernel) -> None:
        logger.info("Serving %s", _root(kernel), extra={"folder": _root(kernel)})
        for name, url in endpoints(kernel):
            logger.info("%s listens on %s", name, url, extra={"transport": name, "url": url})

    def loaded(self, kernel: Kernel) -> None:
        models = list(kernel.registry)
        if not models:
            logger.warning("%s", no_models(kernel))
        ready = sum(model.ready for model in models)
        problems = kernel.problems()
        logger.log(
            logging.WARNING if problems else logging.INFO,
            "%s: %d of %d models ready",
            "The server is not ready" if problems else "The server is ready",
            ready,
            len(models),
            extra={"ready": not problems},
        )

    def stopped(self) -> None:
        logger.info("Stopped")


class TerminalReporter:
    """Reports with panels."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=out, highlight=False)

    def listening(self, kernel: Kernel) -> None:
        rows = [("serving", _root(kernel)), *endpoints(kernel)]
        width = max(len(name) for name, _ in rows)
        self._panel(
            [f"[bold]{name:{width}}[/]  {_escaped(value)}" for name, value in rows],
            f"mlsrv {version_of()}",
            STOPPING,
        )

    def loaded(self, kernel: Kernel) -> None:
        models = sorted(kernel.registry, key=lambda model: (model.name, model.version or ""))
        if models:
            problems = kernel.problems()
            self._panel(
                [_model_line(model) for model in models], "Models", "not ready" if problems else "ready"
            )
        else:
            self._console.print(f"[yellow]{_escaped(no_models(kernel))}[/]")

    def stopped(self) -> None:
        self._console.print("Stopped.")

    def _panel(self, lines: list[str], title: str, subtitle: str) -> None:
        from rich.panel import Panel

        self._console.print(
            Panel(
                "\n".join(lines), title=title, title_align="left", subtitle=subtitle, subtitle_align="right"
            )
        )


class SilentReporter:
    """Reports nothing: other processes of the server do."""

    def listening(self, kernel: Kernel) -> None:
        return

    def loaded(self, kernel: Kernel) -> None:
        return

    def stopped(self) -> None:
        return


class FirstReporter(SilentReporter):
    """Reports the start of several processes, whose end the supervisor reports.

    Args:
        inner: reports.
    """

    def __init__(self, inner: Reporter) -> None:
        self._inner = inner

    def listening(self, kernel: Kernel) -> None:
        self._inner.listening(kernel)

    def loaded(self, kernel: Kernel) -> None:
        self._inner.loaded(kernel)


def endpoints(kernel: Kernel) -> list[tuple[str, str]]:
    """Return the names of transports with the addresses on which they listen."""
    return [
        (name, url) for name, transport in sorted(kernel.transports.items()) for url in transport.endpoints
    ]


def reason_of(model: ModelHandle) -> str:
    """Return the reason for which a model is not ready, without the model's name."""
    return (model.full_problem or model.state.value).removeprefix(f"Model {model.name}: ")


def no_models(kernel: Kernel) -> str:
    """Return the sentence about a server without models."""
    return f"There are no models in {_root(kernel)}; a model is a folder with a model-settings.json."


def _root(kernel: Kernel) -> str:
    return str(kernel.settings.model_repository_root)


def _model_line(model: ModelHandle) -> str:
    name = f"[bold]{_escaped(model.name)}[/]" + (f" {_escaped(model.version)}" if model.version else "")
    if model.ready:
        return f"[green]✓[/] {name}"
    if not model.wanted:
        return f"[dim]–[/] {name}  not loaded"
    return f"[red]✗[/] {name}  {_escaped(reason_of(model))}"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
