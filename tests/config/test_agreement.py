"""Values that are fine alone and contradict each other are refused, naming both."""

import pytest

from kdray.errors import ConfigError


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["recipe.signals.topk=null"],
         ["methods.token_level (token_level) needs distributions on reference as hidden or topk",
          "the teacher gives none there"]),
        (["recipe.signals.topk.on=[hypothesis]", "recipe.signals.sampled={on: [reference]}",
          "recipe.methods={a: {kind: hard_gate, temperature: 1}}"],
         ["methods.a (hard_gate) needs distributions on reference as hidden or topk or online",
          "the teacher gives sampled there"]),
        (["recipe.signals.hypotheses=null", "recipe.methods={a: {kind: hybrid}}"],
         ["methods.a (hybrid) needs hypotheses, but the teacher gives none"]),
        (["recipe.signals.hypotheses=null",
          "recipe.methods={a: {kind: token_level, prefix: hypothesis}}"],
         ["methods.a (token_level) needs hypotheses"]),
        (["recipe.methods={a: {kind: interpolation, n: 3}}"],
         ["methods.a (interpolation) needs 3 hypotheses of each pair, but the teacher gives 1",
          "num_hyps"]),
        (["recipe.methods={a: {kind: taid}}"],
         ["methods.a (taid) needs distributions on reference as hidden or online",
          "the teacher gives topk there"]),
        (["recipe.signals.topk=null", "recipe.signals.sampled={}",
          "recipe.methods={a: {kind: token_level, temperature: 2}}"],
         ["methods.a (token_level) uses temperature 2, but the teacher stores [1.0]"]),
        (["recipe.methods={a: {kind: imitation}}"],
         ["methods.a (imitation) needs distributions on student as online",
          "the teacher gives none there"]),
        (["recipe.methods={a: {kind: stages, stages: [{method: {kind: annealing}, updates: 9},"
          " {method: {kind: cross_entropy}, updates: 9}]}}"],
         ["methods.a (annealing) needs distributions on reference as hidden or online"]),
    ],
)  # fmt: skip
def test_a_signal_that_the_teacher_does_not_give_names_both(load, overrides, parts) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*overrides)
    message = str(caught.value)
    assert all(part in message for part in parts), message
    assert "recipe.signals" in message


def test_without_a_teacher_only_cross_entropy_is_left(load) -> None:
    with pytest.raises(ConfigError, match=r"methods\.token_level .* there is no teacher; add"):
        load("recipe.teacher=null")
    alone = load("recipe.teacher=null", "recipe.methods={ce: {kind: cross_entropy}}")
    assert alone.recipe.teacher is None


def test_a_temperature_that_is_not_stored_names_both(load) -> None:
    with pytest.raises(
        ConfigError,
        match=r"methods\.token_level \(token_level\) uses temperature 2, but the teacher stores "
        r"\[1\.0\]; add it",
    ):
        load("recipe.methods.token_level.temperature=2")
    both = load(
        "recipe.methods.token_level.temperature=2",
        "recipe.signals.topk.temperatures=[1, 2]",
    )
    assert both.recipe.methods["token_level"].temperature == 2


@pytest.mark.parametrize(
    ("method", "parts"),
    [
        ("{kind: taid, signal: topk}", ["signal 'topk' does not hold", "best, hidden, online"]),
        ("{kind: taid, start: 0.9, end: 0.5}", ["start 0.9 is behind end 0.5"]),
        ("{kind: hybrid, gate: {kind: token}}", ["gate token", "use layout one_pass"]),
        ("{kind: hybrid, gate: {kind: confidence, per: token}}", ["use layout one_pass"]),
        ("{kind: hybrid, gate: {kind: entropy}, signal: sampled}", ["'sampled' does not hold"]),
        ("{kind: multi_hypothesis, n: 9, candidates: 8}", ["n 9 is more than the 8 candidates"]),
        ("{kind: stages, stages: [{method: {kind: cross_entropy}, updates: 5},"
         " {method: {kind: cross_entropy}, updates: 20}]}",
         ["stage 1: its schedule warms up for 5 of 5 updates"]),
    ],
)  # fmt: skip
def test_a_method_that_contradicts_itself_is_refused(load, method, parts) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"recipe.methods={{a: {method}}}")
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_an_ensemble_is_of_one_origin_and_not_looked_into(load) -> None:
    trained = (
        "{kind: trained, model: {preset: nano}, "
        "training: {updates: 9, schedule: {kind: cosine, peak: 1e-3, warmup: 2}}}"
    )
    mixed = f"{{kind: ensemble, members: [{trained}, {{kind: checkpoint, path: a}}]}}"
    with pytest.raises(ConfigError, match="members are partly trained and partly brought"):
        load(f"recipe.teacher={mixed}")
    two = f"recipe.teacher={{kind: ensemble, members: [{trained}, {trained}]}}"
    assert load(two) is not None
    with pytest.raises(ConfigError, match=r"\(feature\) looks inside one teacher.* has 2"):
        load(two, "recipe.signals.online=true", "recipe.methods={a: {kind: feature}}")
    weighed = two.replace("members", "weights: perplexity, members")
    with pytest.raises(ConfigError, match="cannot weigh an ensemble by perplexity"):
        load(weighed, "recipe.signals.online=true")


@pytest.mark.parametrize("kind", ["cross_entropy", "sentence_level"])
def test_a_method_that_reads_no_distributions_asks_for_no_temperature(load, kind: str) -> None:
    loaded = load(
        "recipe.signals.topk.temperatures=[2]",
        f"recipe.methods={{a: {{kind: {kind}}}, b: {{kind: token_level, temperature: 2}}}}",
    )
    assert list(loaded.recipe.methods) == ["a", "b"]


def test_the_baseline_is_one_of_the_methods(load) -> None:
    with pytest.raises(
        ConfigError, match="baseline 'word' is not a method; there are cross_entropy, token_level"
    ):
        load("recipe.baseline=word")
    assert load().recipe.baseline_method == "cross_entropy"
    assert load("recipe.baseline=gated").recipe.baseline_method == "gated"


def test_a_search_is_over_one_of_the_methods(load) -> None:
    space = "space: {alpha: {kind: choice, values: [0.1, 0.9]}}"
    with pytest.raises(
        ConfigError, match=r"search\.method 'word' is not a method; there are cross"
    ):
        load(f"search={{method: word, {space}}}")
    assert load(f"search={{method: token_level, {space}}}").search.method == "token_level"


@pytest.mark.parametrize("kind", ["uniform", "log_uniform"])
def test_a_range_is_given_upwards(load, kind: str) -> None:
    dimension = f"{{kind: {kind}, low: 2e-1, high: 1e-1}}"
    with pytest.raises(ConfigError, match=r"low 0\.2 must be below high 0\.1"):
        load(f"search={{method: token_level, space: {{alpha: {dimension}}}}}")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (
            "{preset: nano, width: 33}",
            "width 33 does not divide by 2 heads; use a width such as 32",
        ),
        ("{preset: nano, width: 1}", "width 1 does not divide by 2 heads; use a width such as 2"),
        ("{preset: nano, width: 34, heads: 2}", "width/heads is 17; it must be even"),
        ("{preset: nano, heads: 0}", "heads is 0; it must be at least 1"),
    ],
)
def test_heads_divide_the_width(load, numbers: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"recipe.students.sizes.nano={numbers}")
    assert f"recipe.students.sizes.nano: {message}" in str(caught.value)


@pytest.mark.parametrize("warmup", [20, 21])
def test_the_warm_up_ends_before_the_run(load, warmup: int) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"recipe.students.training.schedule.warmup={warmup}")
    assert (
        f"recipe.students.training: schedule.warmup {warmup} must be shorter than the run of 20"
        in str(caught.value)
    )
    assert load("recipe.students.training.schedule.warmup=19") is not None


def test_a_validation_falls_on_a_checkpoint(load) -> None:
    with pytest.raises(ConfigError, match=r"validate_every 15 must be a multiple of .* 10"):
        load("recipe.students.training.checkpoint_every=10",
             "recipe.students.training.validate_every=15")  # fmt: skip


def test_a_seed_is_given_once(load) -> None:
    with pytest.raises(ConfigError, match=r"recipe\.students: seeds \[1, 2, 1\] repeat a seed"):
        load("recipe.students.seeds=[1, 2, 1]")


def test_a_beam_holds_the_hypotheses_that_are_asked_for(load) -> None:
    with pytest.raises(ConfigError, match="num_hyps 5 is more than a beam of 4 holds; widen"):
        load("recipe.signals.hypotheses.num_hyps=5")
    assert load("recipe.signals.hypotheses.num_hyps=4") is not None


def test_bytes_need_room_in_the_vocabulary(load) -> None:
    with pytest.raises(ConfigError, match="vocab_size 64 has no room for them; use 300 or more"):
        load("recipe.tokenizer.byte_fallback=true")


def test_only_a_brought_teacher_brings_its_tokenizer(load) -> None:
    with pytest.raises(ConfigError, match="tokenizer is missing; it may be left out only with"):
        load("recipe.tokenizer=null")
    brought = load("recipe.tokenizer=null", "recipe.teacher={kind: checkpoint, path: somewhere}")
    assert brought.recipe.tokenizer is None


CONSTANT = "recipe.students.training.schedule={kind: constant_cooldown, peak: 1e-3, warmup: 5}"
EVERY = "recipe.students.training.checkpoint_every=2"


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
    ],
)  # fmt: skip
def test_lengths_that_cannot_share_a_trunk_are_refused(load, overrides, parts) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*overrides)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_lengths_are_taken_in_their_order(load) -> None:
    found = load(CONSTANT, EVERY, "recipe.students.budgets=[40, 20]")
    assert found.recipe.students.lengths == (20, 40)
    assert load().recipe.students.lengths == (20,)
