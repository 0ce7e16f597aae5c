"""`python -m kdray.evaluate CONFIG`: scores of all models on dev and the tests."""

from kdray.command import Config, DryRun, Overrides, Verify, run, studied


def evaluate(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
) -> None:
    """Translate and score with every model of the experiment; trains what is missing."""
    with studied(config, overrides, "evaluate", dry_run=dry_run, verify=verify) as running:
        from kdray.pipeline import check_complete, run_evaluation
        from kdray.runner.reporting import show_findings

        show_findings(running.display, run_evaluation(running))
        check_complete(running)


if __name__ == "__main__":
    run(evaluate)
