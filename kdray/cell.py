"""Which model of a study is meant: its place in the grid of methods, sizes, seeds and lengths."""

from dataclasses import dataclass
from typing import Final, Literal

TEACHER: Final = "teacher"


@dataclass(frozen=True, slots=True)
class Cell:
    """The identity of a student, or of the teacher, from the plan to the report.

    Attributes:
        method: the name that the recipe gives it.
        size: the name that the recipe gives it.
        length: updates, where several lengths are compared.
        role: of a teacher, method and size are called so too.
    """

    method: str
    size: str
    seed: int
    length: int | None = None
    role: Literal["student", "teacher"] = "student"

    @classmethod
    def teacher(cls, seed: int = 0, *, number: int = 0) -> "Cell":
        """The teacher, or the member of an ensemble that has this number, counted from 1.

        The seed of a teacher that was brought is not known: 0 stands for it.
        """
        return cls(f"{TEACHER}-{number}" if number else TEACHER, TEACHER, seed, role=TEACHER)

    @property
    def is_teacher(self) -> bool:
        """Whether it is no student."""
        return self.role == TEACHER

    @property
    def group(self) -> str:
        """Size and length in words: students of one group are compared with one another."""
        return self.size if self.length is None else f"{self.size}, {self.length} updates"

    def __str__(self) -> str:
        if self.is_teacher:
            return self.method
        name = f"{self.size}/{self.method}/seed-{self.seed}"
        return name if self.length is None else f"{name}/updates-{self.length}"
