"""From a method's config to the method: the table that pairs them."""

from collections.abc import Mapping
from typing import Any

from kdray.config.methods.union import SingleMethodConfig
from kdray.config.outside import failures, outside_kinds
from kdray.errors import ConfigError
from kdray.methods.annealing import Annealing
from kdray.methods.base import Method
from kdray.methods.cross_entropy import CrossEntropy
from kdray.methods.divergence import Divergence, TokenLevel
from kdray.methods.feature import Feature
from kdray.methods.hard_gate import HardGate
from kdray.methods.hybrid import Hybrid
from kdray.methods.imitation import Imitation
from kdray.methods.on_policy import OnPolicy
from kdray.methods.online import OnlineTeacher
from kdray.methods.selective import Selective
from kdray.methods.taid import Taid
from kdray.methods.tie import Tie
from kdray.model.transformer import Transformer

METHODS: Mapping[str, type[Method[Any]]] = {
    "cross_entropy": CrossEntropy,
    "token_level": TokenLevel,
    "sentence_level": CrossEntropy,
    "interpolation": CrossEntropy,
    "multi_hypothesis": CrossEntropy,
    "scored": CrossEntropy,
    "hybrid": Hybrid,
    "hard_gate": HardGate,
    "selective": Selective,
    "tie": Tie,
    "annealing": Annealing,
    "divergence": Divergence,
    "taid": Taid,
    "imitation": Imitation,
    "on_policy": OnPolicy,
    "feature": Feature,
}
"""Every method of this package, by the kind of its configuration."""


def method_class(kind: str) -> type[Method[Any]]:
    """What a kind of configuration describes, here or in an installed package.

    Raises:
        ConfigError: the package does not give a method of that kind.
    """
    method = METHODS.get(kind) or outside_kinds("kdray.methods").get(kind)
    if not (isinstance(method, type) and issubclass(method, Method)):
        shown = "nothing that can be loaded" if method is None else repr(method)
        problem = (
            f"{kind}: the entry point {kind} in the group kdray.methods gives {shown}; it must "
            "name a subclass of kdray.methods.base.Method"
        )
        raise ConfigError("\n".join((problem, *failures)))
    return method


def build_method(
    config: SingleMethodConfig, *, student: Transformer, teacher: OnlineTeacher | None = None
) -> Method[Any]:
    """The method that a config describes, for a student, and a teacher if it runs beside it."""
    return method_class(config.kind)(config, student, teacher)
