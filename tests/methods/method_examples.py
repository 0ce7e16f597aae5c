"""Every method in the forms that the laws are tested on.

Adding a method is one entry in ALL_METHODS here and one case in dense_formulas.py.
"""

from collections.abc import Mapping, Sequence

from pydantic import TypeAdapter

from kdray.config.methods.union import SingleMethodConfig
from kdray.schema import Form

TOPK, SAMPLED, HIDDEN, ONLINE = Form.TOPK, Form.SAMPLED, Form.HIDDEN, Form.ONLINE

STABILISERS = {
    "none": {"kind": "none"},
    "prior": {"kind": "prior", "strength": 0.3},
    "centred": {"kind": "centred", "momentum": 0.9},
    "bilevel": {"kind": "bilevel"},
}
GATES = {
    "fixed": {"kind": "fixed", "value": 0.3},
    "line": {"kind": "schedule", "start": 0.9, "end": 0.2},
    "cosine": {"kind": "schedule", "shape": "cosine"},
    **{
        f"{kind}_{name}": {"kind": kind, "initial": 0.4, "stabiliser": stabiliser}
        for kind in ("scalar", "sentence", "token")
        for name, stabiliser in STABILISERS.items()
    },
    "entropy": {"kind": "entropy", "threshold": 0.7},
    "entropy_soft": {"kind": "entropy", "threshold": 0.7, "width": 0.1, "high": "sentence"},
    "entropy_token": {"kind": "entropy", "threshold": 0.7, "width": 0.2, "per": "token"},
    "confidence": {"kind": "confidence"},
    "confidence_token": {"kind": "confidence", "per": "token"},
}


def for_each_token(gate: Mapping[str, object]) -> bool:
    """Such a gate needs both losses on one sequence."""
    return gate["kind"] == "token" or gate.get("per") == "token"


WITHOUT_DISTRIBUTIONS = {
    "cross_entropy": {"kind": "cross_entropy"},
    "sentence_level": {"kind": "sentence_level"},
    "sentence_level_with_reference": {
        "kind": "sentence_level", "with_reference": True, "label_smoothing": 0.1,
    },
    "interpolation": {"kind": "interpolation"},
    "multi_hypothesis": {"kind": "multi_hypothesis"},
    "scored": {"kind": "scored", "by": "risk", "label_smoothing": 0.1},
}  # fmt: skip
HYBRIDS = {
    f"hybrid_{layout}_{name}": {"kind": "hybrid", "layout": layout, "gate": gate}
    for layout in ("two_pass", "one_pass")
    for name, gate in GATES.items()
    if layout == "one_pass" or not for_each_token(gate)
}
WITH_DISTRIBUTIONS: dict[str, tuple[Mapping[str, object], Sequence[Form]]] = {
    "token_level": ({"kind": "token_level"}, (TOPK, SAMPLED, HIDDEN, ONLINE)),
    "token_level_only": ({"kind": "token_level", "alpha": 1.0}, (TOPK,)),
    "token_level_warm": ({"kind": "token_level", "temperature": 2.0}, (TOPK, HIDDEN)),
    "token_level_on_hypothesis": ({"kind": "token_level", "prefix": "hypothesis"}, (TOPK,)),
    **{name: (raw, (TOPK,)) for name, raw in HYBRIDS.items()},
    "hybrid_default": ({"kind": "hybrid"}, (SAMPLED, HIDDEN, ONLINE)),
    "hybrid_warm": (
        {"kind": "hybrid", "layout": "one_pass", "temperature": 2.0,
         "gate": GATES["sentence_prior"]},
        (TOPK, HIDDEN),
    ),
    "hybrid_warm_centred": (
        {"kind": "hybrid", "temperature": 2.0, "gate": GATES["sentence_centred"]},
        (HIDDEN,),
    ),
    "hybrid_entropy": ({"kind": "hybrid", "gate": GATES["entropy_soft"]}, (HIDDEN,)),
    "hybrid_confidence": ({"kind": "hybrid", "gate": GATES["confidence"]}, (HIDDEN,)),
    "hard_gate_token": ({"kind": "hard_gate", "label_smoothing": 0.1}, (TOPK, HIDDEN, ONLINE)),
    "hard_gate_sentence": ({"kind": "hard_gate", "per": "sentence"}, (TOPK, HIDDEN)),
    "selective_batch": ({"kind": "selective", "scope": "batch"}, (TOPK,)),
    "selective_global": (
        {"kind": "selective", "scope": "global", "queue": 30}, (TOPK, SAMPLED, HIDDEN, ONLINE),
    ),
    "tie": ({"kind": "tie"}, (ONLINE,)),
    "annealing": ({"kind": "annealing"}, (HIDDEN, ONLINE)),
    **{
        f"divergence_{name}": ({"kind": "divergence", "divergence": name, **numbers}, forms)
        for name, numbers, forms in (
            ("forward", {"alpha": 0.6}, (TOPK, HIDDEN)),
            ("reverse", {}, (TOPK, HIDDEN)),
            ("jensen_shannon", {"beta": 0.2, "alpha": 0.7}, (TOPK, HIDDEN, ONLINE)),
            ("total_variation", {}, (TOPK, HIDDEN)),
            ("skew", {"prefix": "hypothesis"}, (TOPK, HIDDEN)),
            ("skew_reverse", {}, (TOPK, HIDDEN)),
            ("adaptive", {}, (TOPK, HIDDEN)),
        )
    },
    "taid": ({"kind": "taid", "rate": 0.1, "momentum": 0.5}, (HIDDEN, ONLINE)),
    "imitation_distribution": ({"kind": "imitation"}, (ONLINE,)),
    "imitation_argmax": ({"kind": "imitation", "target": "argmax"}, (ONLINE,)),
    "on_policy": ({"kind": "on_policy", "student_share": 0.3, "beta": 0.8}, (ONLINE,)),
    "on_policy_forward": ({"kind": "on_policy", "divergence": "forward"}, (ONLINE,)),
    "on_policy_reverse": ({"kind": "on_policy", "divergence": "reverse"}, (ONLINE,)),
    "feature": ({"kind": "feature", "hidden_weight": 0.5, "attention_weight": 2.0}, (ONLINE,)),
    "feature_raw": ({"kind": "feature", "states": "raw", "attention_weight": 0.5}, (ONLINE,)),
}  # fmt: skip
ALL_METHODS: dict[str, Mapping[str, object]] = {
    **WITHOUT_DISTRIBUTIONS,
    **{
        f"{name}-{form}": {**raw, "signal": str(form)}
        for name, (raw, forms) in WITH_DISTRIBUTIONS.items()
        for form in forms
    },
}

TYPICAL = [
    "cross_entropy", "sentence_level_with_reference", "interpolation", "multi_hypothesis", "scored",
    "token_level-topk", "token_level-hidden", "token_level_warm-topk", "token_level_warm-hidden",
    "hybrid_two_pass_scalar_prior-topk", "hybrid_two_pass_sentence_centred-topk",
    "hybrid_one_pass_token_none-topk", "hybrid_one_pass_entropy_soft-topk",
    "hybrid_one_pass_confidence_token-topk", "hybrid_warm-hidden",
    "hybrid_warm_centred-hidden",
    "hard_gate_token-hidden", "hard_gate_sentence-topk", "selective_batch-topk",
    "selective_global-hidden", "tie-online", "annealing-hidden", "taid-hidden",
    *(f"divergence_{name}-topk" for name in (
        "reverse", "jensen_shannon", "total_variation", "skew", "skew_reverse", "adaptive",
    )),
    "imitation_distribution-online", "imitation_argmax-online", "on_policy-online",
    "feature-online",
]  # fmt: skip
"""For laws that take long: each method, and each gate with one of its stabilisers."""


def parse(raw: Mapping[str, object]) -> SingleMethodConfig:
    return TypeAdapter(SingleMethodConfig).validate_python(raw)
