"""Equal budgets: how many updates each method makes for them, and what they leave alone."""

import itertools
import json
import random

import pytest
import yaml
from micro_study import CONFIG
from rich.console import Console
from test_all_methods import METHODS, SIGNALS

from kdray.artifacts import write_json
from kdray.command import show_plan
from kdray.config.costs import Cost, CostTable, Machine, Update, read_costs
from kdray.config.experiment import Experiment
from kdray.config.methods.union import single_methods
from kdray.errors import ConfigError
from kdray.pipeline import run_steps
from kdray.plan.experiment import make_plan
from kdray.plan.step import STUDENT, spec_of
from kdray.progress import Display
from kdray.runner.costs import COSTS, costs_of
from kdray.runner.search_space import check_search
from kdray.runner.study import open_study

SCHEDULE = {"kind": "constant_cooldown", "peak": 0.01, "warmup": 5, "cooldown": 0.3}
PLAIN, BOTH = {"kind": "cross_entropy"}, {"kind": "sentence_level", "with_reference": True}
SINGLE = {name: {"kind": name, **rest} for name, rest in METHODS.items()}
STAGED = {"kind": "stages", "stages": [
    {"method": BOTH, "updates": 10},
    {"method": PLAIN, "updates": 25},
    {"method": BOTH, "updates": 9},
]}  # fmt: skip
EVERY = {
    **SINGLE,
    "both": BOTH,
    "staged": STAGED,
    "rising": {"kind": "branch", "trunk": PLAIN, "cooldown": BOTH},
    "falling": {"kind": "branch", "trunk": BOTH, "cooldown": PLAIN},
}
TOKENS = {"kind": "target_tokens"}
MACHINE = {"device": "cpu (toy)", "precision": "fp32", "workers": 1}
EVERY_STEP = 5  # updates between checkpoints


def experiment(budget=None, *, methods=None, updates=300, storage="runs", **changes):
    raw = yaml.safe_load(CONFIG)
    recipe, students = raw["recipe"], raw["recipe"]["students"]
    recipe["signals"] |= SIGNALS
    recipe["methods"] = methods or {"plain": PLAIN, "both": BOTH}
    raw["execution"] = {"storage": str(storage), "tracking": {"enabled": False}}
    del raw["search"]
    students["training"] |= {
        "schedule": SCHEDULE, "updates": updates, "checkpoint_every": EVERY_STEP,
        "validate_every": EVERY_STEP, "averaging": {"kind": "none"},
        **({"budget": budget} if budget else {}), **changes.pop("training", {}),
    }  # fmt: skip
    students |= changes.pop("students", {})
    recipe |= changes.pop("recipe", {})
    return Experiment.model_validate(raw | changes)


def students(*args, **kwargs):
    """The trainings of the students, by method."""
    steps = make_plan(experiment(*args, **kwargs)).of(STUDENT)
    return {step.cell.method: spec_of(step) for step in steps}


def table_of(experiment, *, seed=0, machines=(MACHINE,)):
    """A table with random costs of all that an experiment trains."""
    recipe, draw = experiment.recipe, random.Random(seed)
    singles = {s for m in recipe.methods.values() for s in single_methods(m)}
    updates = [
        Update.of(method, signals=recipe.signals, model=size, tokens_per_update=512)
        for method in sorted(singles, key=repr)
        for size in recipe.students.sizes.values()
    ]
    costs = tuple(
        Cost(
            update=update,
            machine=Machine.model_validate(machine),
            updates=draw.randint(10, 900),
            target_tokens=draw.uniform(300, 1500),
            seconds=draw.uniform(0.01, 2),
        )
        for update, machine in zip(updates, itertools.cycle(machines), strict=False)
    )
    return CostTable(versions={}, costs=costs)


@pytest.fixture
def stored(tmp_path):
    """Store a table. -> its path."""

    def store(table):
        path = tmp_path / "costs.json"
        path.write_text(table.model_dump_json())
        return str(path)

    return store


def spent(spec, cost):
    return sum(part.own_updates * cost(part.method) for part in spec.chain())


def slack(spec, cost):
    """Half an update; a run that changes its method at a checkpoint may miss by half the way."""
    half = cost(spec.method) / 2
    if spec.trunk is not None:
        half += EVERY_STEP * abs(cost(spec.trunk.method) - cost(spec.method)) / 2
    return half * (1 + 1e-9)


@pytest.mark.parametrize("kind", ["target_tokens", "measured tokens", "time"])
@pytest.mark.parametrize(("baseline", "updates"), [("cross_entropy", 211), ("falling", 160)])
def test_every_method_has_the_budget_of_the_baseline(kind, baseline, updates, stored):
    plain = experiment(methods=EVERY)
    recipe, table = plain.recipe, table_of(plain)

    def cost(method):
        if kind == "target_tokens":
            return method.needs().sequences
        wanted = Update.of(method, signals=recipe.signals, tokens_per_update=512,
                           model=recipe.students.sizes["nano"])  # fmt: skip
        (row,) = (row for row in table.costs if row.update == wanted)
        return row.seconds if kind == "time" else row.target_tokens

    budget = {"kind": "time" if kind == "time" else "target_tokens"}
    if kind != "target_tokens":
        budget["costs"] = stored(table)
    # the rarest method of these costs makes a few updates alone
    trained = students(budget, methods=EVERY, updates=updates, recipe={"baseline": baseline},
                       training={"schedule": SCHEDULE | {"warmup": 1}})  # fmt: skip
    assert trained.keys() == EVERY.keys()
    assert sum(part.own_updates for part in trained[baseline].chain()) == updates
    whole = spent(trained[baseline], cost)
    for name, spec in trained.items():
        assert spent(spec, cost) == pytest.approx(whole, abs=slack(spec, cost)), name
    first, second, third = (part.own_updates for part in trained["staged"].chain())
    assert first / second == pytest.approx(10 / 25, abs=1 / second)
    assert third > 0


@pytest.mark.parametrize("budget", [TOKENS, {"kind": "updates"}])
def test_a_student_is_the_same_whatever_budget_led_to_its_updates(budget):
    methods = {name: EVERY[name] for name in ("both", "rising", "hybrid")}
    ours = students(budget, methods={"plain": PLAIN, **methods})
    for name, spec in ours.items():
        method = EVERY.get(name, PLAIN)
        alone = students(methods={name: method}, updates=spec.training.updates)
        assert alone[name] == spec
        assert alone[name].key == spec.key
    counts = [spec.training.updates for spec in ours.values()]
    assert counts[:2] == ([300, 150] if budget == TOKENS else [300, 300])


def test_numbers_that_cost_nothing_are_no_part_of_a_cost(stored):
    first = {"plain": PLAIN, "mixed": {"kind": "hybrid", "gate": {"kind": "fixed", "value": 0.2}}}
    budget = {"kind": "time", "costs": stored(table_of(experiment(methods=first)))}
    other = {"plain": {**PLAIN, "label_smoothing": 0.3},
             "mixed": {"kind": "hybrid", "gate": {"kind": "fixed", "value": 0.7}}}  # fmt: skip
    counts = [{n: s.training.updates for n, s in students(budget, methods=m).items()}
              for m in (first, other)]  # fmt: skip
    assert counts[0] == counts[1]


def test_two_machines_count_one_tokens_and_another_time(stored):
    plain = experiment()
    mixed = table_of(plain, machines=(MACHINE, {**MACHINE, "workers": 2}))
    make_plan(experiment({**TOKENS, "costs": stored(mixed)}))
    with pytest.raises(ConfigError, match=r"1 workers on cpu .* and 2 workers on cpu"):
        make_plan(experiment({"kind": "time", "costs": stored(mixed)}))


def test_a_dry_run_shows_the_updates_where_they_differ(tmp_path):
    def shown(*args, **kwargs):
        console = Console(record=True, width=300)
        config = experiment(*args, **kwargs, storage=tmp_path)
        with open_study(config, Display(console), only_looks=True) as study:
            show_plan(study, "train")
        return console.export_text()

    assert "updates at equal target tokens: plain 300, both 150" in shown(TOKENS)
    assert "updates at" not in shown()
    assert "equal updates: plain 300, staged 10 + 25 + 9" in shown(
        methods={"plain": PLAIN, "staged": STAGED}
    )
    axes = {"length": {"path": "students.training.updates", "values": [100, 200]}}
    lines = shown(TOKENS, recipe={"axes": axes})
    assert "length 100: updates at equal target tokens: plain 100, both 50" in lines
    assert "length 200: updates at equal target tokens: plain 200, both 100" in lines


def test_a_trial_of_a_search_has_the_budget_of_its_own_method(tmp_path):
    space = {"with_reference": {"kind": "choice", "values": [True, False]}}
    search = {"methods": ["both"], "space": space}
    with open_study(experiment(TOKENS, storage=tmp_path, search=search), Display()) as study:
        check_search(study)
        planned, both = study.plan.only.students, study.recipe.methods["both"]
        cell = next(step.cell for step in study.plan.of(STUDENT) if step.cell.method == "both")
        alone = both.model_copy(update={"with_reference": False})
        lengths = [planned.spec(cell, each).training.updates for each in (both, alone)]
    assert lengths == [150, 300]
    methods = {"plain": PLAIN, "both": {**BOTH, "with_reference": False}}
    short = experiment(TOKENS, methods=methods, updates=9, storage=tmp_path, search=search)
    refused = pytest.raises(ConfigError, match=r"warm-up; or raise students\.training\.updates$")
    with open_study(short, Display()) as study, refused:
        check_search(study)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"updates": 9}, ["at equal target tokens methods.both (nano) makes 4 updates where plain "
                          "makes 9: schedule.warmup 5 must be shorter than the run of 4 updates"]),
        ({"updates": 20, "training": {"averaging": {"kind": "last", "checkpoints": 3}}},
         ["methods.both", "averaging.checkpoints 3 is more than the run writes", "or raise"]),
        ({"methods": {"plain": PLAIN, "staged": STAGED}, "updates": 20},
         ["methods.staged (nano) makes 3 + 8 + 3 updates where plain makes 20", "warmup 5"]),
        ({"methods": {"plain": PLAIN, "branch": EVERY["rising"]}, "updates": 8},
         ["methods.branch (nano) makes 7", "7 updates are not longer than the warm-up of 5"]),
        ({"students": {"budgets": [300, 600]}},
         ["budgets [300, 600] are lengths in updates", "training.budget target_tokens",
          "an axis of students.training.updates"]),
        ({"methods": {"plain": PLAIN, "branch": EVERY["rising"]},
          "training": {"schedule": {"kind": "cosine", "warmup": 5}}},
         ["methods.branch", "take constant_cooldown"]),
        ({"budget": {"kind": "time"}}, ["training.budget.time.costs", "Field required"]),
        ({"budget": {"kind": "tokens"}}, ["'updates', 'target_tokens', 'time'"]),
        ({"budget": {"kind": "time", "costs": "absent.json"}},
         ["absent.json: cannot be read", "give the costs.json of a report"]),
    ],
)  # fmt: skip
def test_a_budget_that_cannot_be_met_is_refused(change, parts):
    with pytest.raises((ConfigError, ValueError)) as caught:
        make_plan(experiment(change.pop("budget", TOKENS), **change))
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_table_that_lacks_a_method_or_holds_no_costs_is_refused(stored, tmp_path):
    table = table_of(experiment())
    budget = {"kind": "time", "costs": stored(table)}
    with pytest.raises(ConfigError, match=r"no cost of feature .* \(it has none of this kind\)"):
        make_plan(experiment(budget, methods={"plain": PLAIN, "deep": {"kind": "feature"}}))
    with pytest.raises(ConfigError, match=r"tokens_per_update: 512 -> 1024\); train a short study"):
        make_plan(experiment(budget, training={"tokens_per_update": 1024}))
    raw = table.model_dump(mode="json")
    raw["costs"][0]["seconds"] = 0
    (tmp_path / "costs.json").write_text(json.dumps(raw))
    with pytest.raises(
        ConfigError, match=r"costs.json: costs.0.seconds: .*greater than or equal to 0.000001"
    ):
        make_plan(experiment(budget))
    (tmp_path / "costs.json").write_text("[1]")
    with pytest.raises(ConfigError, match="found list, a table of costs is a mapping"):
        make_plan(experiment(budget))


@pytest.mark.slow
def test_a_row_is_found_among_many_and_a_table_that_was_written_anew_is_read_anew(tmp_path):
    table = table_of(experiment())
    (first, *_) = table.costs
    others = [
        Cost.model_validate({
            **first.model_dump(), "update": {**first.update.model_dump(), "tokens_per_update": n}
        })
        for n in range(1, 400)
    ]  # fmt: skip
    many = CostTable(versions={}, costs=(*others, *table.costs, *others))
    for cost in many.costs:
        assert many.of(cost.update) == [each for each in many.costs if each.update == cost.update]
    path = tmp_path / "costs.json"
    for each in (table, many):
        path.write_text(each.model_dump_json())
        assert read_costs(path) == each


@pytest.mark.long
@pytest.mark.slow
def test_the_costs_of_a_study_are_a_budget_for_the_next(tmp_path, without_ray):
    methods = {"plain": PLAIN, "both": BOTH, "staged": STAGED, "rising": EVERY["rising"],
               "pushed": {"kind": "stages", "stages": [
                   {"method": PLAIN, "updates": 12}, {"method": {"kind": "token_level"},
                                                      "updates": 18}]}}  # fmt: skip
    quiet = {"validate_every": 100}
    config = experiment(methods=methods, updates=40, storage=tmp_path, training=quiet)
    with open_study(config, Display()) as study:
        run_steps(study, "train")
        table = costs_of(study)
        table = costs_of(study)
        write_json(tmp_path / COSTS, table.model_dump(mode="json"))
        whole = {
            step.cell.method: study.store.find(step.key).counts["target_tokens"]
            for step in study.plan.of(STUDENT)
        }
    assert read_costs(tmp_path / "costs.json") == table
    rows = {row.update.method["kind"]: row for row in table.costs}
    assert len(rows) == len(table.costs) == 3
    assert {name: row.updates for name, row in rows.items()} == {
        # a plain run, a stage and a trunk; a run, two stages and a cooldown; the last stage
        "cross_entropy": 40 + 25 + 25 + 12,
        "sentence_level": 40 + 10 + 9 + 15,
        "token_level": 18,
    }
    tokens = sum(row.updates * row.target_tokens for row in table.costs)
    assert tokens == pytest.approx(sum(whole.values()))
    assert rows["sentence_level"].target_tokens > 1.2 * rows["cross_entropy"].target_tokens
    budget = {**TOKENS, "costs": str(tmp_path / "costs.json")}
    again = experiment(budget, methods=methods, updates=60, storage=tmp_path, training=quiet)
    with open_study(again, Display()) as study:
        run_steps(study, "train")
        read = {
            step.cell.method: study.store.find(step.key).counts["target_tokens"]
            for step in study.plan.of(STUDENT)
        }
    assert max(read.values()) < 1.1 * min(read.values())
