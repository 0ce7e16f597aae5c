"""The methods that `methods.py` times, and the cost that is expected from the FLOPs of each."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flops import Flops
from pydantic import TypeAdapter

from kdray.config.methods.union import SingleMethodConfig
from kdray.schema import Form

NONE = "none"  # no distributions are read


Cost = Callable[[Flops], float]


@dataclass(frozen=True)
class Case:
    """A method to be timed. own: the FLOPs of all that it computes besides reading its signal."""

    kind: str
    variant: str = ""
    signal: str = NONE
    settings: Mapping[str, Any] = field(default_factory=dict)
    own: Cost = Flops.train
    reads: int = 1  # times that the teacher's distributions are asked for
    limit: float | None = None

    def expected(self, flops: Flops) -> float:
        """FLOPs relative to plain cross-entropy."""
        read = 0.0
        if self.signal == Form.HIDDEN:
            read = self.reads * flops.teacher_output
        elif self.signal == Form.ONLINE:
            read = self.reads * flops.teacher()
        return (self.own(flops) + read) / flops.train()

    def limit_at(self, expected: float) -> float | None:
        """The highest ratio that is accepted; None if there is no limit."""
        if self.limit is None and self.signal in (Form.HIDDEN, Form.ONLINE):
            return 1.15 * expected
        return self.limit

    def config(self) -> SingleMethodConfig:
        """The configuration of the method, as in a recipe."""
        signal = {} if self.signal == NONE else {"signal": self.signal}
        data = {"kind": self.kind, **signal, **self.settings}
        adapter: TypeAdapter[SingleMethodConfig] = TypeAdapter(SingleMethodConfig)
        return adapter.validate_python(data)


def cases(tokens: int) -> Iterator[Case]:
    """All methods; the variants of a kind follow one another."""
    yield Case("cross_entropy")
    for form in ("topk", "sampled"):
        yield Case("token_level", signal=form, limit=1.05)
    yield Case("token_level", "temperature 2", "topk", {"temperature": 2.0}, limit=1.05)
    for form in ("hidden", "online"):
        yield Case("token_level", signal=form)
    yield Case("sentence_level")
    both = {"with_reference": True}
    yield Case("sentence_level", "with_reference", settings=both, own=twice)
    yield Case("interpolation")
    yield Case("multi_hypothesis")
    yield Case("scored", settings={"by": "risk"})
    yield from hybrids(tokens)
    for form in ("topk", "hidden"):  # asked for the label's probability, then for all
        yield Case("hard_gate", signal=form, own=looks_first, reads=2)
    for scope in ("batch", "global"):
        yield Case("selective", scope, "topk", {"scope": scope}, own=looks_first)
    yield Case("tie", "3 passes", "online", {"passes": 3}, own=thrice, reads=3)
    for form in ("hidden", "online"):
        yield Case("annealing", signal=form)
    for name in ("forward", "reverse", "jensen_shannon", "total_variation", "skew",
                 "skew_reverse", "adaptive"):  # fmt: skip
        yield Case("divergence", name, "topk", {"divergence": name})
    for name in ("jensen_shannon", "adaptive"):
        yield Case("divergence", name, "hidden", {"divergence": name})
    for form in ("hidden", "online"):
        yield Case("taid", signal=form)
    yield Case("imitation", signal="online", own=imitates)
    yield Case("on_policy", signal="online", own=samples, reads=2)
    yield Case("feature", signal="online", own=matches_layers)


def hybrids(tokens: int) -> Iterator[Case]:
    """The hybrid with its layouts and gates. A gate with computations of its own has no limit."""
    one: dict[str, Any] = {"layout": "one_pass"}
    two: dict[str, Any] = {"layout": "two_pass"}
    for form in ("topk", "sampled"):
        settings = one | {"gate": {"kind": "fixed"}}
        yield Case("hybrid", "one_pass, fixed", form, settings, limit=1.1)
    settings = one | {"gate": {"kind": "token"}}
    yield Case("hybrid", "one_pass, token", "topk", settings, limit=1.1)
    settings = one | {"gate": {"kind": "confidence", "per": "token"}}
    yield Case("hybrid", "one_pass, confidence", "topk", settings, looks_first)
    for kind in ("fixed", "sentence", "entropy"):
        settings = two | {"gate": {"kind": kind}}
        yield Case("hybrid", f"two_pass, {kind}", "topk", settings, twice, limit=2.0)
    settings = two | {"gate": {"kind": "fixed"}}
    yield Case("hybrid", "two_pass, fixed", "hidden", settings, twice)
    dev = max(16, tokens // 2)
    bilevel = {"kind": "bilevel", "every": 1, "dev_tokens": dev}

    def with_step(flops: Flops) -> float:  # a dev gradient, and the losses three times more
        mixture = flops.encoder + 2 * flops.decoder + 6 * flops.output  # its gradient comes along
        return twice(flops) + dev / tokens * flops.train() + 3 * mixture

    settings = two | {"gate": {"kind": "sentence", "stabiliser": bilevel}}
    yield Case("hybrid", "two_pass, sentence, bilevel", "topk", settings, with_step)


def twice(flops: Flops) -> float:
    """The student learns two target sequences with one encoder pass."""
    return flops.train(decoders=2)


def thrice(flops: Flops) -> float:
    """The student learns three target sequences with one encoder pass."""
    return flops.train(decoders=3)


def imitates(flops: Flops) -> float:
    """At half of the training, a copy of the student writes 1 − 200^(−1/2) of the sentences."""
    return flops.train() + (1 - 200**-0.5) * flops.train() / 3


def samples(flops: Flops) -> float:
    """The student writes a sequence for every sentence and learns it beside the reference."""
    return twice(flops) + flops.train() / 3


def matches_layers(flops: Flops) -> float:
    """The teacher runs once more for its states, and linear maps join the two widths."""
    teacher = flops.teacher_encoder + flops.teacher_decoder
    return flops.train() + 3 * flops.state_maps + teacher


def looks_first(flops: Flops) -> float:
    """There is one more output projection, without gradient."""
    return flops.train() + flops.output
