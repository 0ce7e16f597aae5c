"""Which training lengths can share a trunk, and with which settings."""

import pytest

from kdray.errors import ConfigError

CONSTANT = "recipe.students.training.schedule={kind: constant_cooldown, peak: 1e-3, warmup: 5}"
EVERY = "recipe.students.training.checkpoint_every=2"
TRAINED = "recipe.students.training"


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["recipe.students.budgets=[20, 40]"], ["budgets [20, 40]", "the schedule is cosine"]),
        ([CONSTANT, EVERY, "recipe.students.budgets=[20, 40, 20]"],
         ["budgets [20, 40, 20] repeat a length"]),
        ([CONSTANT, EVERY, "recipe.students.budgets=[40, 80]"],
         ["training.updates 20 is none of the budgets [40, 80]"]),
        ([CONSTANT, EVERY, "recipe.students.budgets=[6, 20]"],
         ["6 updates are not longer than the warm-up of 5 and the cooldown of 1 together"]),
        ([CONSTANT, "recipe.students.budgets=[20]"],
         ["a run of 20 updates would leave the trunk at update 0", "its cooldown at 16",
          "the warm-up ends at 5", "lower checkpoint_every 250"]),
        ([CONSTANT, EVERY, "recipe.students.budgets=[20]",
          "recipe.methods={a: {kind: stages, stages: [{method: {kind: cross_entropy}, updates: 9},"
          " {method: {kind: cross_entropy}, updates: 9}]}}"],
         ["methods.a (stages) has lengths of its own", "students.budgets [20]"]),
        (["recipe.methods={a: {kind: branch, trunk: {kind: cross_entropy},"
          " cooldown: {kind: sentence_level}}}"],
         ["methods.a", "the schedule is cosine; take constant_cooldown"]),
        ([CONSTANT, "recipe.methods={a: {kind: branch, trunk: {kind: cross_entropy},"
          " cooldown: {kind: sentence_level}}}"],
         ["methods.a: a run of 20 updates would leave the trunk at update 0"]),
        ([CONSTANT, EVERY, "recipe.signals.hidden={}",
          "recipe.methods={a: {kind: branch, trunk: {kind: taid}, cooldown: {kind: taid}}}"],
         ["methods.a: the updates of its trunk (taid) depend on the length of the run"]),
        ([CONSTANT, EVERY, "recipe.signals.hypotheses=null", "recipe.signals.topk.on=[reference]",
          "recipe.methods={a: {kind: branch, trunk: {kind: cross_entropy},"
          " cooldown: {kind: sentence_level}}}"],
         ["methods.a (sentence_level) needs hypotheses"]),
        ([CONSTANT, EVERY, "recipe.students.budgets=[20, 40]", f"{TRAINED}.validate_every=2",
          f"{TRAINED}.averaging=null", f"{TRAINED}.early_stopping={{patience: 2}}"],
         ["budgets [20, 40]: with early_stopping a run may end before its cooldown"]),
        ([CONSTANT, EVERY, f"{TRAINED}.averaging=null", f"{TRAINED}.early_stopping={{patience: 2}}",
          "recipe.methods={a: {kind: branch, trunk: {kind: cross_entropy},"
          " cooldown: {kind: sentence_level}}}"],
         ["methods.a: with early_stopping a run may end before its cooldown"]),
        ([CONSTANT, EVERY, "recipe.students.budgets=[10, 20]",
          f"{TRAINED}.averaging={{kind: last, checkpoints: 6}}"],
         ["budgets [10, 20]: averaging.checkpoints 6 is more than the run writes: 10 updates"]),
        ([CONSTANT, EVERY, "recipe.students.budgets=[20, 40]",
          f"{TRAINED}.averaging={{kind: swa, window: 0.3}}"],
         ["budgets [20, 40]: with averaging.window 0.3 the mean of a run of 20 updates begins at "
          "update 15", "leaves the trunk only at 16", "lower the window to the cooldown of 0.2"]),
    ],
)  # fmt: skip
def test_lengths_that_cannot_share_a_trunk_are_refused(load, overrides, parts) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*overrides)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


@pytest.mark.parametrize(
    "averaging",
    ["null", "{kind: none}", "{kind: ema}", "{kind: last, checkpoints: 5}",
     "{kind: swa, window: 0.2}"],
)  # fmt: skip
def test_means_that_can_go_on_from_a_trunk_are_taken(load, averaging) -> None:
    load(CONSTANT, EVERY, "recipe.students.budgets=[20, 40]", f"{TRAINED}.averaging={averaging}")


def test_lengths_are_taken_in_their_order(load) -> None:
    loaded = load(CONSTANT, EVERY, "recipe.students.budgets=[40, 20]")
    assert loaded.recipe.students.lengths == (20, 40)
    assert load().recipe.students.lengths == (20,)
