"""`python -m kdray.decode CONFIG`: the teacher and the signals it leaves for its students."""

from kdray.command import Config, DryRun, Overrides, Verify, run, studied


def decode(
    config: Config,
    overrides: Overrides = [],  # noqa: B006
    dry_run: DryRun = False,
    verify: Verify = False,
) -> None:
    """Train or load the teacher, then store its translations and distributions.

    Stores every signal that the configuration names, also those that none of its methods reads.
    """
    with studied(config, overrides, "decode", dry_run=dry_run, verify=verify) as running:
        from kdray.pipeline import run_steps

        run_steps(running, "decode")


if __name__ == "__main__":
    run(decode)
