"""`python -m kdray.report CONFIG`: the report, from scores that exist."""

from pathlib import Path
from typing import Annotated

import typer

from kdray.command import Config, DryRun, Overrides, Verify, run, studied


def report(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Folder of the pages. Default: reports/NAME in the storage."),
    ] = None,
) -> None:
    """Write the report of what is trained and scored already; trains and scores nothing.

    Nothing else is written, and no tracker is told. Storage that is read-only serves, too.
    """
    with studied(
        config, overrides, "report", dry_run=dry_run, verify=verify, only_looks=True
    ) as running:
        from kdray.pipeline import run_report
        from kdray.runner.reporting import show_results

        show_results(running, run_report(running, into))


if __name__ == "__main__":
    run(report)
