"""Sharded jobs made here, one shard after another."""

from pathlib import Path

from kdray.artifacts import Brought, Key
from kdray.teacher.own import OwnModels
from kdray.teacher.shards import ShardPlan

ENCODED = Key("encoded", 1, {})
"""What jobs have in their identity and do not read."""


def at(folder):
    """A folder as what a job reads."""
    return Brought(folder, folder.name)


def fetch(source):
    """The folder again."""
    return source.path


def own(*folders, weights="uniform"):
    """Stored models as a teacher."""
    return OwnModels(tuple(map(at, folders)), weights)


def paths(plan):
    """Folders of all shards."""
    return [plan.path(i) for i in range(len(plan.ranges))]


def make(job, folder: Path, *, shard_rows, device="cpu"):
    """Make the shards of a job, last first, and join them. -> their plan, the counts."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = job.prepare(folder, fetch, device=device)
    plan = ShardPlan.open(folder / "shards", rows=rows, shard_rows=shard_rows)
    build = job.builder(folder, fetch, device=device)
    for index in reversed(plan.missing()):
        plan.make(index, build)
    return plan, job.join(paths(plan), plan.counts(), folder, fetch)
