"""Training lengths that share a trunk: where a run of each length leaves it, and which can.

With a constant rate, runs of several lengths are equal up to where the first of them cools down
(Hägele et al. 2024), so one run, the trunk, serves them all.
"""

from collections.abc import Sequence

from pydantic import ValidationError

from kdray.config.methods.union import SingleMethodConfig
from kdray.config.training import ConstantCooldownConfig, SwaConfig, TrainingConfig


def of_length(training: TrainingConfig, updates: int) -> TrainingConfig:
    """The same training over another number of updates, whatever budget led to them."""
    same = training.model_dump(exclude={"budget"})
    return TrainingConfig.model_validate(same | {"updates": updates})


def follows_length(method: SingleMethodConfig) -> bool:
    """Whether runs of two lengths differ from the start, so that they have no common trunk."""
    return method.needs().run_length


def branching_update(training: TrainingConfig, updates: int | None = None) -> int:
    """The last checkpoint at or before the cooldown of a run: there it leaves the trunk.

    updates: of the run; None: those of the training.
    """
    assert isinstance(training.schedule, ConstantCooldownConfig), "the config was checked for this"
    start = training.schedule.cooldown_start(updates or training.updates)
    return start - start % training.checkpoint_every


def check_trunk(training: TrainingConfig, *, place: str) -> ConstantCooldownConfig:
    """The schedule of runs that leave a trunk.

    Raises:
        ValueError: it has none that is constant before it falls, or runs may end before that.
    """
    schedule = training.schedule
    if not isinstance(schedule, ConstantCooldownConfig):
        raise ValueError(
            f"{place}: lengths share a trunk only at a constant rate, and the schedule is "
            f"{schedule.kind}; take constant_cooldown"
        )
    if training.early_stopping is not None:
        raise ValueError(
            f"{place}: with early_stopping a run may end before its cooldown, and so have another "
            "length than the one it is compared at; leave early_stopping out"
        )
    return schedule


def check_lengths(training: TrainingConfig, lengths: Sequence[int], *, place: str) -> None:
    """Raise ValueError when runs of these lengths cannot branch off a trunk."""
    schedule = check_trunk(training, place=place)
    for updates in lengths:
        falls = round(schedule.cooldown * updates)
        if falls == 0:
            raise ValueError(
                f"{place}: a cooldown of {schedule.cooldown:g} of {updates} updates is none, so "
                "no run leaves the trunk before its end; lengthen the cooldown"
            )
        if updates <= schedule.warmup + falls:
            raise ValueError(
                f"{place}: {updates} updates are not longer than the warm-up of {schedule.warmup} "
                f"and the cooldown of {falls} together; take more, or shorten those"
            )
        branching = updates - falls - (updates - falls) % training.checkpoint_every
        if branching < schedule.warmup:
            raise ValueError(
                f"{place}: a run of {updates} updates would leave the trunk at update {branching}, "
                f"the last checkpoint before its cooldown at {updates - falls}, and the warm-up "
                f"ends at {schedule.warmup}; lower checkpoint_every {training.checkpoint_every}"
            )
        _check_averaging(training, updates, branching, place=place)


def _check_averaging(training: TrainingConfig, updates: int, branching: int, *, place: str) -> None:
    try:
        of_length(training, updates)
    except ValidationError as error:
        raise ValueError(f"{place}: {error.errors()[0]['ctx']['error']}") from None
    averaging = training.averaging
    if isinstance(averaging, SwaConfig):
        first = averaging.snapshots(updates).start
        if first <= branching:
            assert isinstance(training.schedule, ConstantCooldownConfig), "checked before"
            raise ValueError(
                f"{place}: with averaging.window {averaging.window:g} the mean of a run of "
                f"{updates} updates begins at update {first}, and the run leaves the trunk only at "
                f"{branching}; lower the window to the cooldown of {training.schedule.cooldown:g}"
            )
