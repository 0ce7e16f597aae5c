"""Under which condition does a model decode? Some are easier than others, for the same model.

The plain condition is a search that is given the source alone. Other conditions give a part of the
reference, or draw what the search would choose.
"""

from dataclasses import dataclass
from typing import Final, Literal, Self, get_args

Kind = Literal["beam", "prefix", "sampling", "teacher-forcing"]
BEAM: Final = "beam"
PREFIX: Final = "prefix"
SAMPLING: Final = "sampling"
TEACHER_FORCING: Final = "teacher-forcing"


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to decode. Scores, tables and metrics in MLflow are told apart by its name.

    Attributes:
        kind: a beam search; one that goes on from a prefix of the reference; a draw from the
            model's distribution; the reference itself, of which each next token is predicted.
        amount: the width of a beam, or the share of the reference that is given; else None.
    """

    kind: Kind
    amount: float | None = None

    @classmethod
    def of_beam(cls, width: int) -> Self:
        """The plain condition; a beam of one is greedy search."""
        return cls(BEAM, width)

    @classmethod
    def of_prefix(cls, share: float) -> Self:
        """A share of the reference is given; if all of it is, that is teacher forcing."""
        return cls(PREFIX, share) if share < 1 else cls(TEACHER_FORCING)

    @classmethod
    def named(cls, name: str) -> Self:
        """The inverse of `name`.

        Raises:
            ValueError: no condition is called so.
        """
        kind, _, amount = name.partition("-")
        if name in (SAMPLING, TEACHER_FORCING):
            return cls(name)  # type: ignore[arg-type]
        if kind == BEAM and amount.isdecimal():
            return cls.of_beam(int(amount))
        if kind == PREFIX and 0 < float(amount) < 1:
            return cls.of_prefix(float(amount))
        raise ValueError(f"{name!r} is no condition of decoding")

    @property
    def name(self) -> str:
        """As in `beam-5`, `prefix-0.5`, `sampling`, `teacher-forcing`."""
        return self.kind if self.amount is None else f"{self.kind}-{self.amount}"

    @property
    def title(self) -> str:
        """The name in words, for headings."""
        return self.kind.replace("-", " ") + ("" if self.amount is None else f" {self.amount}")

    @property
    def width(self) -> int | None:
        """Of the beam in the plain condition; None in any other."""
        return int(self.amount or 1) if self.kind == BEAM else None

    @property
    def share(self) -> float:
        """Of the reference that is given before the model goes on."""
        return float(self.amount or 0) if self.kind == PREFIX else 0.0

    @property
    def place(self) -> tuple[int, float]:
        """Where it stands among others."""
        return get_args(Kind).index(self.kind), self.amount or 0.0

    def __str__(self) -> str:
        return self.name
