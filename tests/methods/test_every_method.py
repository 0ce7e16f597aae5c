"""The list of methods that the laws run over leaves none out."""

from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from method_examples import ALL_METHODS, GATES, HYBRIDS, STABILISERS, TYPICAL, parse
from pydantic import ValidationError

from kdray.config.gates import GateConfig, StabiliserConfig
from kdray.config.methods.divergence import DivergenceConfig
from kdray.config.methods.hard_gate import HardGateConfig
from kdray.config.methods.hybrid import HybridConfig
from kdray.config.methods.imitation import ImitationConfig
from kdray.config.methods.selective import SelectiveConfig
from kdray.config.methods.union import SingleMethodConfig

PARSED = {name: parse(raw) for name, raw in ALL_METHODS.items()}


def members(union: Any) -> tuple[Any, ...]:
    """The types of an annotated union."""
    return get_args(get_args(union)[0] if get_origin(union) is Annotated else union)


def kinds(union: Any) -> set[str]:
    return {get_args(config.model_fields["kind"].annotation)[0] for config in members(union)}


def choices(config: Any, field: str) -> set[str]:
    annotation = config.model_fields[field].annotation
    assert get_origin(annotation) is Literal
    return set(get_args(annotation))


def test_a_union_tells_its_kinds():
    """So that the tests below do not pass because they look at nothing."""
    assert isinstance(get_args(GateConfig)[0], UnionType)
    assert {"cross_entropy", "feature"} < kinds(SingleMethodConfig)
    assert len(kinds(SingleMethodConfig)) == len(members(SingleMethodConfig)) >= 15


@pytest.mark.parametrize("names", [list(ALL_METHODS), TYPICAL], ids=["all", "typical"])
def test_every_kind_is_there(names):
    assert {PARSED[name].kind for name in names} == kinds(SingleMethodConfig)
    assert len(names) == len(set(names))


def test_every_teacher_form_that_a_kind_may_read_is_there():
    """A form of a kind, in any of its variants; hidden and online give the same distributions."""
    for kind in kinds(SingleMethodConfig):
        configs = {n: c for n, c in PARSED.items() if c.kind == kind}
        usable = {f for c in configs.values() for f in getattr(type(c), "forms", ())}
        found = {c.signal for c in configs.values() if hasattr(c, "signal")}
        assert {"dense" if f in ("hidden", "online") else str(f) for f in usable} == {
            "dense" if f in ("hidden", "online") else f for f in found
        }, kind


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (DivergenceConfig, "divergence"),
        (HardGateConfig, "per"),
        (SelectiveConfig, "scope"),
        (ImitationConfig, "target"),
        (HybridConfig, "layout"),
    ],
)
def test_every_choice_of_a_method_is_there(config, field):
    found = {getattr(c, field) for c in PARSED.values() if isinstance(c, config)}
    assert found == choices(config, field)


def test_every_gate_is_there_with_every_stabiliser_in_every_layout():
    assert {gate["kind"] for gate in GATES.values()} == kinds(GateConfig)
    assert set(STABILISERS) == kinds(StabiliserConfig)
    for config in members(GateConfig):
        (kind,) = get_args(config.model_fields["kind"].annotation)
        own = [name for name, gate in GATES.items() if gate["kind"] == kind]
        if "stabiliser" in config.model_fields:
            assert {GATES[name]["stabiliser"]["kind"] for name in own} == set(STABILISERS)
        for field in ("per", "high", "shape"):
            if field in config.model_fields:
                defaults = config.model_fields[field].default
                found = {GATES[name].get(field, defaults) for name in own}
                assert found == choices(config, field)
    layouts = choices(HybridConfig, "layout")
    for layout in layouts:
        for name, gate in GATES.items():
            raw = {"kind": "hybrid", "layout": layout, "gate": gate}
            if f"hybrid_{layout}_{name}" in HYBRIDS:
                assert f"hybrid_{layout}_{name}-topk" in ALL_METHODS
            else:
                with pytest.raises(ValidationError, match="use layout one_pass"):
                    parse(raw)
