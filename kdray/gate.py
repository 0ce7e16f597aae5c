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
    """Print g, both losses per token and more of every sentence, separated by tabs.

    The other columns are words of the source, the teacher's mean entropy at a token of the
    reference (nan without one), and the source.
    """
    with studied(
        config, overrides, "gate", dry_run=False, only_looks=True, to_stderr=True
    ) as running:
        from kdray.runner.gate import read_gates

        rows, left_out = read_gates(running, student, file)
        typer.echo("gate\ttoken_loss\tsentence_loss\twords\tentropy\tsource")
        for row in rows:
            losses = f"{row.token_loss:.4f}\t{row.sentence_loss:.4f}"
            typer.echo(f"{row.gate:.4f}\t{losses}\t{row.words}\t{row.entropy:.4f}\t{row.src}")
        if left_out:
            running.display.note(
                f"{left_out} pairs of dev are left out: student or teacher cannot read a side of "
                "theirs, or the teacher's translation"
            )


if __name__ == "__main__":
    run(gate)
