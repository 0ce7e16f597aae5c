"""`python -m kdray.study CONFIG`: the whole study, from the corpus to the report."""

from kdray.command import (
    Config,
    DryRun,
    MaxBytes,
    MaxHours,
    Overrides,
    Verify,
    limits_of,
    run,
    studied,
)


def study(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
    max_hours: MaxHours = None,
    max_bytes: MaxBytes = None,
) -> None:
    """Run a whole distillation study: teacher, signals, students, scores, report.

    What exists already is not made again: the same command continues a study that was stopped.
    """
    limits = limits_of(max_hours, max_bytes)
    with studied(
        config, overrides, "study", dry_run=dry_run, verify=verify, limits=limits
    ) as running:
        from kdray.pipeline import check_complete, run_study
        from kdray.runner.reporting import show_findings

        show_findings(running.display, run_study(running))
        check_complete(running)


if __name__ == "__main__":
    run(study)
