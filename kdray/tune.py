"""`python -m kdray.tune CONFIG`: search values of a method with Ray Tune over one teacher cache."""

from kdray.command import Config, DryRun, Overrides, Verify, run, studied


def tune(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
) -> None:
    """Search values of one method, such as its gate and loss weight, judged on dev.

    The teacher and its signals are made once, before the search starts.
    """
    with studied(config, overrides, "tune", dry_run=dry_run, verify=verify) as running:
        from kdray.pipeline import run_search_path

        run_search_path(running)


if __name__ == "__main__":
    run(tune)
