"""`python -m kdray.gate CONFIG STUDENT`: the gate of a finished hybrid student, per sentence."""

from pathlib import Path
from typing import Annotated

import typer

from kdray.command import Config, Overrides, run, studied


def gate(
    config: Config,
    student: Annotated[str, typer.Argument(help="Its name, as in nano/hybrid/seed-1.")],
    file: Annotated[
        Path | None,
        typer.Argument(help="Lines of source, tab, reference. Default: the dev set."),
    ] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Print g, both losses per token and the source of every sentence, separated by tabs."""
    with studied(config, overrides, "gate", dry_run=False, only_looks=True) as running:
        from kdray.runner.gate import read_gates

        typer.echo("gate\ttoken_loss\tsentence_loss\tsource")
        for row in read_gates(running, student, file):
            typer.echo(f"{row.gate:.4f}\t{row.token_loss:.4f}\t{row.sentence_loss:.4f}\t{row.src}")


if __name__ == "__main__":
    run(gate)
