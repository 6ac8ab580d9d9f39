"""Command ``mlsrv completion``: the scripts with which a shell completes commands and options."""

from __future__ import annotations

import rich_click as click
from click.shell_completion import get_completion_class

from mlsrv_cli.names import COMPLETION_VARIABLE

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    bash: eval "$(mlsrv completion bash)" in ~/.bashrc

    zsh: eval "$(mlsrv completion zsh)" in ~/.zshrc

    fish: mlsrv completion fish > ~/.config/fish/completions/mlsrv.fish
    """
    make = get_completion_class(shell)
    if make is None:
        raise click.ClickException(f"This version of click knows no completion for {shell}.")
    print(make(ctx.find_root().command, {}, "mlsrv", COMPLETION_VARIABLE).source())
