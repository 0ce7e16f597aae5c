"""`python -m kdray.report CONFIG…`: the report, from scores that exist."""

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from kdray.command import DryRun, Overrides, Verify, limits_of, run, studied
from kdray.errors import InputError
from kdray.reporting.forms import FormLimits


def report(
    configs: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG...",
            help="YAML files of experiments: one, or several that go into one report.",
        ),
    ],
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Folder of the pages. Default: reports/NAME in the (first) storage."),
    ] = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Name the exported student to take that translates 95 % of sentences so fast.",
        ),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(help="Name the exported student to take that is so small, as 500k or 20M."),
    ] = None,
) -> None:
    """Write the report of what is trained and scored already; trains and scores nothing.

    Several studies become one report, with one table and one map over what they have in common.
    With a limit, the verdict names the exported student that is the best on dev within it.
    Nothing else is written, and no tracker is told. Storage that is read-only serves, too.
    """
    if into is not None and not dry_run:
        try:
            into.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise InputError(f"--into {str(into)[:200]!r}: {error}; name another folder") from None
    limits = FormLimits(max_latency_ms, limits_of(None, max_bytes).size)
    with ExitStack() as opened:
        studies = []
        for config in configs:
            looked = studied(
                config, overrides, "report", dry_run=dry_run, verify=verify, only_looks=True
            )
            with suppress(typer.Exit):  # of a dry run, which has shown its plan
                studies.append(opened.enter_context(looked))
        if dry_run:
            return
        from kdray.pipeline import run_joint_report, run_report
        from kdray.runner.reporting import show_findings

        findings = (
            run_report(studies[0], into, limits)
            if len(studies) == 1
            else run_joint_report(studies, into, limits)
        )
        show_findings(studies[0].display, findings)


if __name__ == "__main__":
    run(report)
