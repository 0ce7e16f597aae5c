"""`python -m kdray.complexity CONFIG`: how complex the scenario of an experiment is."""

import json
from typing import Annotated

import typer

from kdray.command import Config, DryRun, Overrides, Verify, run, studied


def complexity(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    text_only: Annotated[
        bool, typer.Option("--text-only", help="Measure the text alone; train no teacher.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; progress goes to standard error.")
    ] = False,
    dry_run: DryRun = False,
    verify: Verify = False,
) -> None:
    """Measure the text and the teacher, and print the measures; trains the teacher if need be."""
    verb = "complexity of text" if text_only else "complexity"
    with studied(
        config, overrides, verb, dry_run=dry_run, verify=verify, to_stderr=as_json
    ) as running:
        from kdray.measures.measure import absent, flat
        from kdray.pipeline import run_complexity
        from kdray.runner.complexity import measures_of, show_complexity

        run_complexity(running, verb)
        if as_json:
            measures = measures_of(running)
            shown = {"measures": flat(measures), "absent": absent(measures)}
            typer.echo(json.dumps(shown, indent=1, ensure_ascii=False))
        else:
            show_complexity(running)


if __name__ == "__main__":
    run(complexity)
