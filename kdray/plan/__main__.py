"""`python -m kdray.plan CONFIG` is the command of `kdray.estimate`; this package is the plan."""

from kdray.command import run
from kdray.estimate import plan

if __name__ == "__main__":
    run(plan)
