"""`python -m kdray.report CONFIG`: the report, from scores that exist."""

from kdray.command import Config, DryRun, Overrides, run, studied


def report(config: Config, overrides: Overrides = [], dry_run: DryRun = False) -> None:  # noqa: B006
    """Write the report of what is trained and scored already; trains and scores nothing."""
    with studied(config, overrides, "report", dry_run=dry_run) as running:
        from kdray.pipeline import run_report
        from kdray.runner.reporting import show_results

        show_results(running, *run_report(running))


if __name__ == "__main__":
    run(report)
