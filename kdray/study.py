"""`python -m kdray.study CONFIG`: the whole study, from the corpus to the report."""

from kdray.command import Config, DryRun, Overrides, Verify, run, studied


def study(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
) -> None:
    """Run a whole distillation study: teacher, signals, students, scores, report.

    What exists already is not made again: the same command continues a study that was stopped.
    """
    with studied(config, overrides, "study", dry_run=dry_run, verify=verify) as running:
        from kdray.pipeline import check_complete, run_study
        from kdray.runner.reporting import show_findings

        show_findings(running.display, run_study(running))
        check_complete(running)


if __name__ == "__main__":
    run(study)
