"""`python -m kdray.train CONFIG`: the students, without scores on the tests."""

from kdray.command import Config, DryRun, Overrides, Verify, run, studied


def train(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
) -> None:
    """Train every student of the experiment, and before them whatever they need."""
    with studied(config, overrides, "train", dry_run=dry_run, verify=verify) as running:
        from kdray.pipeline import check_complete, run_steps

        run_steps(running, "train")
        check_complete(running)


if __name__ == "__main__":
    run(train)
