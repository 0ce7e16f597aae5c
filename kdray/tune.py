"""`python -m kdray.tune CONFIG`: search methods and values with Ray Tune over one teacher cache."""

from kdray.command import Config, DryRun, Overrides, Verify, run, studied


def tune(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
) -> None:
    """Search methods and their values, such as gates and loss weights, judged on dev.

    The teacher and its signals are made once, before the search starts. The winner is trained anew
    with other seeds and compared on the tests with the methods of the recipe.
    """
    with studied(config, overrides, "tune", dry_run=dry_run, verify=verify) as running:
        from kdray.pipeline import check_complete, run_search_path

        run_search_path(running)
        check_complete(running)


if __name__ == "__main__":
    run(tune)
