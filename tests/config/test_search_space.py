"""The space of a search: conditions, edges, grids; which objectives choose the winner."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from kdray.config.dimensions import Dimension
from kdray.config.objectives import ObjectiveConfig, beats, pareto_front, winner_of
from kdray.config.search import SearchConfig
from kdray.config.space import draw, edges, grid, in_order

KINDS = ["fixed", "sentence", "entropy"]
SPACE = {
    "gate.initial": {"kind": "uniform", "low": 0.1, "high": 0.9, "when": {"gate.kind": "sentence"}},
    "gate.threshold": {
        "kind": "uniform", "low": 0.0, "high": 0.5, "step": 0.1, "when": {"gate.kind": ["entropy"]},
    },
    "gate.kind": {"kind": "choice", "values": KINDS, "when": {"method": "hybrid"}},
    "temperature": {"kind": "log_uniform", "low": 0.5, "high": 4.0},
    "training.updates": {"kind": "integer", "low": 10, "high": 30, "step": 10},
}  # fmt: skip


def config(**changes):
    return SearchConfig.model_validate(
        {"methods": ["hybrid", "token_level"], "space": SPACE, **changes}
    )


def dimension(**data):
    return TypeAdapter(Dimension).validate_python(data)


def test_a_dimension_counts_only_where_its_condition_holds():
    for values in edges(config()):
        kind = values.get("gate.kind")
        assert ("gate.kind" in values) == (values["method"] == "hybrid")
        assert ("gate.initial" in values) == (kind == "sentence")
        assert ("gate.threshold" in values) == (kind == "entropy")
        assert {"method", "temperature", "training.updates"} <= set(values)


def test_each_dimension_follows_those_that_it_asks_for():
    order = [path for path, _ in in_order(config())]
    assert sorted(order) == sorted(["method", *SPACE])
    assert order.index("method") < order.index("gate.kind") < order.index("gate.initial")


def test_edges_hold_every_choice_and_both_ends(monkeypatch):
    for most in (500, 3):
        monkeypatch.setattr("kdray.config.space.MOST_POINTS", most)
        points = edges(config())
        for path, each in config().dimensions.items():
            assert {v for values in points if (v := values.get(path)) is not None} == set(
                each.edges
            ), (most, path)
    assert all(draw(config(), lambda path, _, v=v: v[path]) == v for v in points)


def test_a_grid_has_each_point_once():
    space = {
        **{k: v for k, v in SPACE.items() if k not in ("gate.initial", "temperature")},
        "alpha": {"kind": "choice", "values": [0.1, 0.2]},
    }
    points = grid(config(space=space, algorithm="grid"))
    # Two gates without a knob, one with six thresholds, and the method without a gate.
    assert len(points) == (1 + 1 + 6 + 1) * 2 * 3
    assert all(one != other for one, other in itertools.combinations(points, 2))
    assert {round(p["gate.threshold"] * 10) for p in points if "gate.threshold" in p} == set(
        range(6)
    )
    assert 0.3 in {p.get("gate.threshold") for p in points}, "without the last bits of 3 · 0.1"


@given(
    low=st.integers(-20, 20),
    steps=st.integers(1, 40),
    step=st.sampled_from([1, 2, 5]),
    kind=st.sampled_from(["integer", "uniform"]),
)
def test_quantised_values_are_those_of_the_steps(low, steps, step, kind):
    scale = 1 if kind == "integer" else 0.01
    each = dimension(
        kind=kind, low=low * scale, high=(low + steps * step) * scale, step=step * scale
    )
    assert len(each.every) == steps + 1
    assert all(map(each.holds, each.every))
    assert all(map(each.holds, each.edges))
    assert not each.holds((low + step / 3) * scale)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {"a": {"kind": "choice", "values": [1], "when": {"b": 1}}}}, "b is not in the"),
        ({"space": {**SPACE, "x": {"kind": "choice", "values": [1], "when": {"gate.kind": "own"}}}},
         "gate.kind is never 'own'"),
        ({"space": {**SPACE, "x": {"kind": "choice", "values": [1], "when": {"temperature": 1}}}},
         "a condition asks for values of a choice"),
        ({"methods": "hybrid"}, "there is only the method hybrid"),
        ({"space": {"a": {"kind": "choice", "values": [1], "when": {"b": 1}},
                    "b": {"kind": "choice", "values": [1], "when": {"a": 1}}}}, "wait for one"),
        ({"space": {"method": {"kind": "choice", "values": ["a"]}}}, "leave it out of the space"),
        ({"methods": ["hybrid", "hybrid"]}, "name each once"),
        ({"space": {"a": {"kind": "uniform", "low": 0, "high": 1, "step": 0.3}}}, "is 0.9"),
        ({"algorithm": "grid"}, "space.gate.initial: a grid takes"),
        ({"decode_for": ["layout"]}, "decode_for: layout is not in the space"),
        ({"decode_for": ["temperature"]}, "make it a choice"),
        ({"starts": [{"alpha": 1}]}, "starts, point 1: alpha is not in the space"),
        ({"starts": [{"temperature": 9}]}, "9 is not in its dimension"),
        ({"objectives": ["dev/bleu", "dev/bleu"]}, "name dev/bleu twice"),
        ({"objectives": ["parameters"]}, "needs a quality first"),
        ({"objectives": [{"metric": "dev/loss", "direction": "maximise"}]}, "would maximise"),
        ({"objectives": ["dev/bleu", {"metric": "latency", "within": 1}]}, "it is the last one"),
    ],
)  # fmt: skip
def test_a_search_that_contradicts_itself_is_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        config(**changes)


OBJECTIVES = [ObjectiveConfig(metric="dev/bleu"), ObjectiveConfig(metric="parameters")]
TRIALS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


def scored(trials):
    return {
        n: {"dev/bleu": float(bleu), "parameters": float(size)}
        for n, (bleu, size) in enumerate(trials)
    }


@given(TRIALS)
def test_the_front_is_what_nothing_beats_and_everything_else_is_beaten_by_it(trials):
    scores = scored(trials)
    front = pareto_front(scores, OBJECTIVES)
    for number, each in scores.items():
        beaten = [n for n in front if beats(scores[n], each, OBJECTIVES)]
        assert (number in front) == (not beaten)


@given(TRIALS, st.integers(0, 3), st.integers(0, 6))
def test_the_winner_keeps_the_limit_and_gives_up_no_more_than_it_may(trials, within, limit):
    objectives = [
        ObjectiveConfig(metric="dev/bleu", within=within),
        ObjectiveConfig(metric="parameters", limit=limit),
    ]
    scores = {n: s for n, s in scored(trials).items()}
    allowed = {n: s for n, s in scores.items() if s["parameters"] <= limit}
    winner = winner_of(scores, objectives)
    if not allowed:
        assert winner is None
        return
    best = max(s["dev/bleu"] for s in allowed.values())
    near = [s for s in allowed.values() if s["dev/bleu"] >= best - within]
    assert winner in pareto_front(allowed, objectives)
    assert scores[winner]["dev/bleu"] >= best - within
    assert scores[winner]["parameters"] == min(s["parameters"] for s in near)
