"""`fashionseg completion`: the shell completion script."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash:  echo 'eval "$(fashionseg completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(fashionseg completion zsh)"' >> ~/.zshrc
    fish:  fashionseg completion fish > ~/.config/fish/completions/fashionseg.fish
    """
    from click.shell_completion import get_completion_class

    from fashionseg.cli.main import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(cli, {}, "fashionseg", "_FASHIONSEG_COMPLETE").source())
