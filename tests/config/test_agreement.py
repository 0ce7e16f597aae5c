"""Values that are valid alone but contradict each other are refused, and both are named."""

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
        ("{kind: taid, start: 0.9, end: 0.5}", ["start 0.9 is beyond end 0.5"]),
        ("{kind: hybrid, gate: {kind: token}}", ["gate token", "use layout one_pass"]),
        ("{kind: hybrid, gate: {kind: confidence, per: token}}", ["use layout one_pass"]),
        ("{kind: hybrid, gate: {kind: entropy}, signal: sampled}", ["'sampled' does not hold"]),
        ("{kind: multi_hypothesis, n: 9, candidates: 8}", ["n 9 is more than the 8 candidates"]),
        ("{kind: stages, stages: [{method: {kind: cross_entropy}, updates: 5},"
         " {method: {kind: cross_entropy}, updates: 20}]}",
         ["stage 1: schedule.warmup 5 must be shorter than the run of 5 updates; give it a"]),
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
        ConfigError, match=r"search\.methods: 'word' is not a method; there are cross"
    ):
        load(f"search={{methods: word, {space}}}")
    assert load(f"search={{methods: token_level, {space}}}").search.methods == ("token_level",)


@pytest.mark.parametrize("kind", ["uniform", "log_uniform"])
def test_a_range_is_given_upwards(load, kind: str) -> None:
    dimension = f"{{kind: {kind}, low: 2e-1, high: 1e-1}}"
    with pytest.raises(ConfigError, match=r"low 0\.2 must be below high 0\.1"):
        load(f"search={{methods: token_level, space: {{alpha: {dimension}}}}}")


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


TRAINING = "recipe.students.training"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["averaging={kind: last, checkpoints: 5}", "checkpoint_every=5"],
            "averaging.checkpoints 5 is more than the run writes: 20 updates with a "
            "checkpoint_every of 5 leave 4; average fewer",
        ),
        (
            ["averaging={kind: swa, window: 0.01}"],
            "averaging.window 0.01 is the last 0 of 20 updates, and every 1 of them makes 0",
        ),
        (
            ["averaging={kind: swa, window: 0.5, every: 10}"],
            "averaging.window 0.5 is the last 10 of 20 updates, and every 10 of them makes 1",
        ),
        (
            ["early_stopping={patience: 1}", "averaging={kind: swa}"],
            "averaging.kind swa is a mean at the end of a run, and with early_stopping",
        ),
        (
            ["early_stopping={patience: 1}", "averaging={kind: last, checkpoints: 1}"],
            "averaging.kind last is a mean at the end of a run",
        ),
    ],
)
def test_a_mean_has_something_to_be_of(load, overrides, message) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*(f"{TRAINING}.{each}" for each in overrides))
    assert f"{TRAINING}: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("updates=0", "updates"),
        ("averaging={kind: ema, decay: 1.0}", "averaging.decay: input should be less than 1"),
        ("averaging={kind: swa, window: 0}", "averaging.window: input should be greater than 0"),
        ("early_stopping={patience: 0}", "early_stopping.patience"),
        ("early_stopping={metric: bleu}", "early_stopping.patience"),
    ],
)
def test_a_number_out_of_range_is_named(load, key, message) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"{TRAINING}.{key}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {"kind": "last", "checkpoints": 1}),  # 20 updates are one checkpoint
        (["checkpoint_every=5", "validate_every=5"], {"kind": "last", "checkpoints": 4}),
        (["checkpoint_every=1"], {"kind": "last", "checkpoints": 5}),
        (["early_stopping={patience: 3}"], {"kind": "none"}),
        (
            ["early_stopping={patience: 3}", "averaging={kind: ema}"],
            {"kind": "ema", "decay": 0.999},
        ),
    ],
)
def test_the_default_of_averaging_fits_the_run(load, overrides, expected) -> None:
    training = load(*(f"{TRAINING}.{each}" for each in overrides)).recipe.students.training
    assert training.effective_averaging().model_dump() == expected


def stages_of(first: int) -> str:
    """An override with a method of two stages, the first of which has `first` updates."""
    stages = f"{{kind: stages, stages: [{{method: {{kind: cross_entropy}}, updates: {first}}}, "
    stages += "{method: {kind: token_level}, updates: 20}]}"
    return f"recipe.methods={{cross_entropy: {{kind: cross_entropy}}, two: {stages}}}"


def test_a_stage_that_writes_fewer_checkpoints_averages_all(load) -> None:
    config = load(stages_of(9), f"{TRAINING}.averaging={{kind: last, checkpoints: 4}}",
                  f"{TRAINING}.checkpoint_every=5")  # fmt: skip
    training = config.recipe.students.training
    checkpoints = [
        training.of_stage(updates, None).effective_averaging().checkpoints for updates in (9, 20)
    ]
    assert checkpoints == [2, 4]


def test_a_stage_is_long_enough_for_its_window(load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(stages_of(6), f"{TRAINING}.averaging={{kind: swa, window: 0.2}}")
    message = "methods.two: stage 1: averaging.window 0.2 is the last 1 of 6 updates"
    assert message in str(caught.value)


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
