"""The table of costs: what an update of each method took in an earlier study.

A report writes it as `costs.json`; a budget of a later study names it. What decides the cost of an
update is all of a method but its real numbers, which are weights and temperatures, the signals that
it reads, the shape of the student, and the tokens of an update.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from kdray.config.base import Frozen
from kdray.config.faults import faults
from kdray.config.methods.union import SingleMethodConfig
from kdray.config.model import SHAPE, ModelConfig
from kdray.config.plain_yaml import a_mapping, read_text
from kdray.config.signals import SignalsConfig
from kdray.errors import ConfigError
from kdray.schema import Form, View

WHAT, REPAIR = "a table of costs", "give the costs.json of a report"
MOST_BYTES = 16 * 2**20  # some twenty thousand rows; a study has as many as it has methods


class Update(Frozen):
    """What decides the cost of an update.

    Attributes:
        method: its configuration, without what is a real number or null.
        sequences: how many target sequences of a pair it learns.
        reads: in which form it reads the teacher's distributions on each view.
        model: width, feed-forward, heads and layers of the student.
        tokens_per_update: of the training.
    """

    method: dict[str, Any]
    sequences: int = Field(ge=1)
    reads: dict[View, Form]
    model: dict[str, int]
    tokens_per_update: int = Field(ge=1)

    @classmethod
    def of(
        cls,
        method: SingleMethodConfig,
        *,
        signals: SignalsConfig,
        model: ModelConfig,
        tokens_per_update: int,
    ) -> "Update":
        """That of a method, with what a teacher gives."""
        needs = method.needs()
        return cls(
            method=_without_numbers(method.model_dump(mode="json")),
            sequences=needs.sequences,
            reads={view: signals.best(needs, view) for view in needs.distributions},
            model={name: getattr(model, name) for name in SHAPE},
            tokens_per_update=tokens_per_update,
        )


class Machine(Frozen):
    """What updates ran on: seconds that were measured on two machines cannot be compared."""

    device: str
    precision: str
    workers: int = Field(ge=1)

    def __str__(self) -> str:
        return f"{self.workers} workers on {self.device} in {self.precision}"


class Cost(Frozen):
    """What an update took in the mean over `updates` of them, on one machine."""

    update: Update
    machine: Machine
    updates: int = Field(ge=1)
    target_tokens: float = Field(gt=0, le=1e9)
    seconds: float = Field(ge=1e-6, le=1e6)


class CostTable(Frozen):
    """The costs of a study, and the versions of the packages that they were measured with."""

    versions: dict[str, str]
    costs: tuple[Cost, ...]

    def of(self, update: Update) -> Sequence[Cost]:
        """The rows of an update; more than one if it ran on several machines."""
        return self._by_update.get(_text(update), ())

    @cached_property
    def _by_update(self) -> dict[str, list[Cost]]:
        rows: dict[str, list[Cost]] = {}
        for cost in self.costs:
            rows.setdefault(_text(cost.update), []).append(cost)
        return rows


def _text(update: Update) -> str:
    return json.dumps(update.model_dump(mode="json"), sort_keys=True)


def read_costs(path: Path) -> CostTable:
    """Read a table that a report has written.

    Raises:
        ConfigError: it cannot be read, or is no such table.
    """
    try:
        written = path.stat().st_mtime_ns
    except OSError:
        written = 0  # reading it tells why
    return _read(path, written)


@lru_cache(maxsize=8)  # each point of a grid asks for it
def _read(path: Path, written: int) -> CostTable:
    try:
        data = json.loads(read_text(path, repair=REPAIR, most=MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON ({error}); {REPAIR}") from None
    try:
        return CostTable.model_validate(a_mapping(data, path, what=WHAT, repair=REPAIR))
    except ValidationError as error:
        raise ConfigError("\n".join(faults(error, str(path), CostTable))) from None


def _without_numbers(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_numbers(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if not isinstance(value, float | None)
    }
