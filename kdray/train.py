"""`python -m kdray.train CONFIG`: the students, without scores on the tests."""

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


def train(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
    max_hours: MaxHours = None,
    max_bytes: MaxBytes = None,
) -> None:
    """Train every student of the experiment, and before them whatever they need."""
    limits = limits_of(max_hours, max_bytes)
    with studied(
        config, overrides, "train", dry_run=dry_run, verify=verify, limits=limits
    ) as running:
        from kdray.pipeline import check_complete, run_steps

        run_steps(running, "train")
        check_complete(running)


if __name__ == "__main__":
    run(train)
