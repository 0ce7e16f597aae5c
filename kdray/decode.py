"""`python -m kdray.decode CONFIG`: the teacher and the signals it leaves for its students."""

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


def decode(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
    max_hours: MaxHours = None,
    max_bytes: MaxBytes = None,
) -> None:
    """Train or load the teacher, then store its translations and distributions.

    Stores every signal that the configuration names, also those that none of its methods reads.
    """
    limits = limits_of(max_hours, max_bytes)
    with studied(
        config, overrides, "decode", dry_run=dry_run, verify=verify, limits=limits
    ) as running:
        from kdray.pipeline import run_steps

        run_steps(running, "decode")


if __name__ == "__main__":
    run(decode)
